"""What a caller sees of a search: callbacks of one argument or two, and printed lines."""

import re

import numpy as np
import pytest

import rwgen
from rwgen import InvalidInputError, InversionConfig, OptimizerConfig, Snapshot, StopReason

CONFIG = InversionConfig(optimizer=OptimizerConfig(max_iterations=3))
IMAGE = np.random.default_rng(1).uniform(0, 255, (16, 20, 3))

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def network(small_network):
    return small_network()


@pytest.fixture
def invert(network):
    def call(**options):
        return rwgen.invert(IMAGE, "conv2_1", network=network, config=CONFIG, **options)

    return call


def test_a_callback_of_one_argument_gets_the_step_and_the_image(invert):
    seen, images = [], []

    def note(snapshot):
        seen.append(snapshot)
        images.append(snapshot.image)

    solution = invert(callback=note)
    assert all(isinstance(snapshot, Snapshot) for snapshot in seen)
    for snapshot, step in zip(seen, solution.history, strict=True):
        assert (snapshot.iteration, snapshot.loss) == (step.iteration, step.loss)
        assert (snapshot.terms, snapshot.seconds) == (step.terms, step.seconds)
    np.testing.assert_array_equal(images[-1], solution.image)
    assert 100 < images[0].mean() < 155  # RGB in 0..255, not network input


@pytest.mark.parametrize(
    "callback",
    [
        lambda snapshot: snapshot.iteration == 1,
        lambda step, best: step.iteration == 1 and best().shape == IMAGE.shape,
        lambda step, best=None: best is not None and step.iteration == 1,
        lambda *arguments: len(arguments) == 2 and arguments[0].iteration == 1,
    ],
    ids=["one", "two", "optional", "any"],
)
def test_either_form_ends_the_search(invert, callback):
    solution = invert(callback=callback)
    assert (solution.iterations, solution.stop_reason) == (1, StopReason.CALLBACK)


def test_built_in_functions_and_objects_are_callbacks(invert):
    seen = []
    invert(callback=seen.append)
    assert [snapshot.iteration for snapshot in seen] == [0, 1, 2, 3]

    class Watcher:
        def __call__(self, snapshot):
            return snapshot.iteration == 2

    assert invert(callback=Watcher()).iterations == 2


def test_a_minimization_of_any_function_takes_either_form():
    seen = []
    rwgen.minimize(lambda x: {"a": x[0] ** 2}, np.ones(1), callback=seen.append)
    np.testing.assert_allclose(seen[-1].image, [0], atol=1e-3)


@pytest.mark.parametrize("callback", [lambda: None, lambda a, b, c: None, "print", 3])
def test_other_callbacks_are_refused_before_the_search(invert, callback):
    with pytest.raises(InvalidInputError, match="callback: expected a function of one argument"):
        invert(callback=callback)


@pytest.mark.parametrize("verbose", [True, 1])
def test_verbose_prints_a_line_for_each_step(invert, capsys, verbose):
    seen = []
    solution = invert(verbose=verbose, callback=seen.append)
    lines = capsys.readouterr().out.splitlines()
    pattern = r"iteration (\d)/3 - \d+\.\d s - loss (\S+)"
    found = [re.fullmatch(pattern, line).groups() for line in lines]
    assert [int(iteration) for iteration, _ in found] == [0, 1, 2, 3]
    assert float(found[-1][1]) == pytest.approx(solution.loss, rel=1e-3)
    assert len(seen) == 4


@pytest.mark.parametrize("verbose", [False, 0])
def test_nothing_is_printed_otherwise(invert, capsys, verbose):
    invert(verbose=verbose)
    invert()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verbose", [-1, "auto", 0.5, None])
def test_other_values_of_verbose_are_refused(invert, verbose):
    with pytest.raises(InvalidInputError, match="verbose: expected"):
        invert(verbose=verbose)


def test_every_task_has_it(network, capsys):
    optimizer = OptimizerConfig(max_iterations=0)
    texture = rwgen.TextureConfig(layers=("conv1_1",), optimizer=optimizer)
    rwgen.synthesize_texture(IMAGE, network=network, config=texture, verbose=1)
    style = rwgen.StyleConfig(
        content_layers=("conv1_1",), style_layers=("conv1_1",), optimizer=optimizer
    )
    rwgen.transfer_style(IMAGE, IMAGE, network=network, config=style, verbose=1)
    assert capsys.readouterr().out.count("iteration 0/0") == 2
