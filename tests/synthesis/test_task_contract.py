"""What every task promises alike: seeds, starts, callbacks, checkpoints, memory, errors."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import rwgen
from rwgen import (
    Checkpoint,
    CheckpointError,
    InvalidInputError,
    InversionConfig,
    LayerError,
    MemoryLimitError,
    OptimizerConfig,
    OutputError,
    StopReason,
    StyleConfig,
    TextureConfig,
)
from rwgen.compute import memory, plan
from rwgen.compute.plan import network_workload
from rwgen.optimize.checkpoint import FILE_NAME
from rwgen.synthesis import pipeline, tasks
from rwgen.synthesis.margins import searched_size

OPTIMIZER = OptimizerConfig(max_iterations=6, num_correction_pairs=3, jit_compile=False)
SIZE = (32, 40)


def picture(seed, size=SIZE):
    noise = np.random.default_rng(seed).uniform(0, 255, (size[0] // 8, size[1] // 8, 3))
    return rwgen.resize_image(noise, *size)


@dataclass(frozen=True)
class Contract:
    """One task, called with an image; what else it takes is the same for all."""

    config: Any
    reads: tuple[str, ...]
    keeps: tuple[str, ...]

    def __call__(self, image=None, *, layers=None, config=None, **rest):
        image = picture(1) if image is None else image
        config = config or self.config
        if isinstance(config, StyleConfig):
            if layers:
                config = dataclasses.replace(config, style_layers=layers)
            return rwgen.transfer_style(image, [picture(2, (64, 64))], config=config, **rest)
        if isinstance(config, TextureConfig):
            if layers:
                config = dataclasses.replace(config, layers=layers)
            return rwgen.synthesize_texture(image, config=config, **rest)
        return rwgen.invert(image, layers or "conv2_1", config=config, **rest)

    def with_settings(self, **settings):
        return dataclasses.replace(self.config, **settings)


TASKS = {
    "style": Contract(
        StyleConfig(
            content_layers=("conv2_1",),
            style_layers=("conv1_1", "conv2_1"),
            init="noise",
            octaves=0,
            optimizer=OPTIMIZER,
        ),
        ("conv2_1", "conv1_1"),
        ("conv2_1",),
    ),
    "texture": Contract(
        TextureConfig(layers=("conv1_1", "conv2_1"), octaves=0, optimizer=OPTIMIZER),
        ("conv1_1", "conv2_1"),
        (),
    ),
    "inversion": Contract(
        InversionConfig(octaves=0, optimizer=OPTIMIZER), ("conv2_1",), ("conv2_1",)
    ),
}


pytestmark = pytest.mark.usefixtures("eager_module")


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    return TASKS[request.param]


@pytest.fixture(scope="module")
def network(small_network):
    return small_network()


@pytest.fixture(scope="module")
def seen():
    """What the callback of `expected` saw: iterations and images."""
    return []


@pytest.fixture(scope="module")
def expected(task, network, seen):
    """The solution of a run from start to end."""
    seen.clear()
    return task(network=network, callback=lambda step, best: seen.append((step.iteration, best())))


class KilledError(Exception):
    """In place of a kill: nothing in the library catches it."""


def killing(at):
    def callback(step, _best):
        if step.iteration == at:
            raise KilledError

    return callback


def timeless(solution):
    """Everything in a solution that must be the same again, bit for bit."""
    values = dataclasses.asdict(solution)
    for step in values["history"]:
        del step["seconds"]
    del values["seconds"]
    return {**values, "image": (values["image"].shape, values["image"].tobytes())}


def at_the_start(step, _best):
    """A callback that ends a search before its first iteration, which costs little."""
    return step.iteration == 0


def test_the_initial_loss_does_not_depend_on_the_iterations(task, network):
    found = []
    for iterations in (0, 2, 4):
        optimizer = dataclasses.replace(OPTIMIZER, max_iterations=iterations)
        config = task.with_settings(octaves=1, optimizer=optimizer)
        image = picture(1, (64, 72))
        found.append(task(image, network=network, config=config).initial_loss)
    assert found[0] == found[1] == found[2] > 0


def test_the_solution_has_the_images_shape_and_a_lower_loss(expected):
    assert expected.image.shape == (*SIZE, 3)
    assert expected.image.dtype == np.float64  # the network's
    assert expected.loss < expected.initial_loss
    assert expected.loss == pytest.approx(sum(expected.terms.values()), rel=1e-9)
    assert expected.stop_reason is StopReason.MAX_ITERATIONS
    assert [step.iteration for step in expected.history] == list(range(7))


def test_the_callback_sees_pixels_after_every_iteration(expected, seen):
    assert [iteration for iteration, _ in seen] == list(range(7))
    assert all(image.shape == (*SIZE, 3) for _, image in seen)
    assert 100 < seen[0][1].mean() < 155  # RGB in 0..255, not network input
    np.testing.assert_array_equal(seen[-1][1], expected.image)


def test_another_seed_starts_elsewhere(task, network, seen, expected):
    other = task(network=network, config=task.with_settings(seed=1), callback=at_the_start)
    assert np.abs(other.image - seen[0][1]).mean() > 1


def test_the_callback_ends_the_search(task, network, seen, expected):
    solution = task(network=network, callback=at_the_start)
    assert solution.stop_reason is StopReason.CALLBACK
    assert (solution.iterations, solution.loss) == (0, expected.initial_loss)
    np.testing.assert_array_equal(solution.image, seen[0][1])


def test_the_search_starts_from_init(task, network):
    start = picture(5)
    config = task.config
    if isinstance(config, InversionConfig):
        config = dataclasses.replace(config, parameterization="pixel")
    solution = task(network=network, config=config, init=start, callback=at_the_start)
    np.testing.assert_allclose(solution.image, start, atol=1e-3)
    with pytest.raises(InvalidInputError, match="init image of shape"):
        task(network=network, init=start[:16])


def test_a_network_of_one_size_is_not_halved(task):
    network = rwgen.build_network(
        rwgen.Recipe(kernel_stddev=0.1), "conv2_1", input_shape=(64, 64, 3)
    )
    config = task.with_settings(octaves=1)
    with pytest.raises(InvalidInputError, match="of a size that"):
        task(network=network, config=config)
    seen = []

    def callback(step, best):
        seen.append(best().shape)
        return True

    task(picture(1, (64, 64)), network=network, config=config, callback=callback)
    assert seen == [(64, 64, 3)]


# Checkpoints


def test_the_same_call_gives_the_same_bits_after_a_kill_too(task, network, expected, tmp_path):
    with pytest.raises(KilledError):
        task(network=network, callback=killing(5), checkpoint=Checkpoint(tmp_path, 2))
    seen = []
    solution = task(
        network=network,
        callback=lambda step, _: seen.append(step.iteration),
        checkpoint=Checkpoint(tmp_path, 2),
    )
    assert seen[0] == 4
    assert timeless(solution) == timeless(expected)


def test_the_checkpoint_of_another_run_is_refused(task, network, small_network, tmp_path):
    task(network=network, callback=at_the_start, checkpoint=Checkpoint(tmp_path, 1))
    before = (tmp_path / FILE_NAME).read_bytes()
    for change in (
        {"image": picture(9)},
        {"init": picture(3)},
        {"layers": ("conv1_1",)},
        {"config": task.with_settings(seed=1)},
        {"network": small_network(seed=5)},
        {"network": small_network(pooling="max")},
    ):
        with pytest.raises(CheckpointError, match="of this run"):
            task(**{"network": network, **change}, checkpoint=Checkpoint(tmp_path, 1))
    for name, other in TASKS.items():
        if other is not task:
            with pytest.raises(CheckpointError, match="of this run"):
                other(network=network, checkpoint=Checkpoint(tmp_path, 1))
            assert name
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("task", [TASKS["inversion"]])
def test_a_full_disk_ends_a_run_with_the_last_state_written(task, network, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    def fill(step, _best):
        if step.iteration == 4:
            monkeypatch.setattr("os.fsync", full)

    with pytest.raises(OutputError, match="No space left"):
        task(network=network, callback=fill, checkpoint=Checkpoint(tmp_path, 3))
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert Checkpoint(tmp_path, 3).get("search")["history"][-1]["iteration"] == 3


# Memory


@pytest.fixture
def small_networks_save_memory(monkeypatch):
    """Constants with which recomputation pays on a few layers of a few pixels too."""
    monkeypatch.setattr(memory, "BASE_BYTES", 0)
    monkeypatch.setattr(memory, "COMPILED_BYTES", {False: 0, True: 0})
    monkeypatch.setattr(memory, "EVALUATION_MAPS", {False: 3.0, True: 3.0})


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks_save_memory")
def test_recomputed_features_give_the_same_image(task, network, expected, monkeypatch):
    size = searched_size(SIZE, getattr(task.config, "margin", 0))
    work = network_workload(
        network,
        task.reads,
        size=size,
        targets=[size],
        content_layers=task.keeps,
        optimizer=OPTIMIZER,
    )
    kept, recomputed = work.peak_bytes(False), work.peak_bytes(True)
    assert recomputed < kept
    used = []
    original = plan.recomputing_reader
    monkeypatch.setattr(
        plan, "recomputing_reader", lambda *a, **k: used.append(1) or original(*a, **k)
    )
    solution = task(network=network, memory_limit=(kept + recomputed) // 2)
    assert used
    assert solution.loss == pytest.approx(expected.loss, rel=1e-6)
    np.testing.assert_allclose(solution.image, expected.image, atol=1e-3)


def test_what_cannot_fit_is_refused_before_any_work(task, network, monkeypatch):
    def unreached(*_, **__):
        raise AssertionError("work was started")

    for name in ("inversion_objective", "texture_objective", "style_objective"):
        monkeypatch.setattr(tasks, name, unreached)
    monkeypatch.setattr(pipeline, "ImageMinimizer", unreached)
    with pytest.raises(MemoryLimitError, match="memory"):
        task(network=network, memory_limit=10**8)


# Errors


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(()), "shape"),
        (np.zeros(5), "shape"),
        (np.zeros((5, 3)), "shape"),
        (np.zeros((0, 5, 3)), "shape"),
        (np.zeros((1, 32, 32, 3)), "shape"),
        (np.full((32, 40, 3), np.nan), "finite"),
        (np.full((32, 40, 3), "red"), "numbers"),
        (picture(1)[:1, :1], "of a size that|at least 2"),
    ],
    ids=["scalar", "vector", "matrix", "empty", "batch", "nan", "text", "too small"],
)
@pytest.mark.parametrize("own", [True, False], ids=["own network", "shipped network"])
def test_what_is_not_an_image_is_refused_in_one_line(task, network, image, message, own):
    with pytest.raises(InvalidInputError, match=message) as caught:
        task(image, **({"network": network} if own else {}))
    assert len(str(caught.value).splitlines()) == 1


def test_unknown_layers_are_refused(task, network):
    for rest in ({"network": network}, {}):
        with pytest.raises(LayerError, match="conv9_9"):
            task(layers=("conv9_9",), **rest)


@pytest.mark.parametrize("octaves", [False, 0.0, "", -1])
def test_octaves_are_an_integer_or_none(task, octaves):
    with pytest.raises(InvalidInputError, match="octaves: expected an integer from 0"):
        task.with_settings(octaves=octaves)
