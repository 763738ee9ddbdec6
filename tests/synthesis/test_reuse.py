"""Searches share compiled functions and networks, and give what they give alone."""

import dataclasses
import gc
import json
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

import rwgen
from rwgen import InversionConfig, OptimizerConfig, StyleConfig, TextureConfig
from rwgen.compute.plan import ComputePlan
from rwgen.network.vgg import build_network
from rwgen.synthesis import pipeline, reuse
from rwgen.synthesis.reuse import MAX_NETWORKS, SearchPool

OPTIMIZER = OptimizerConfig(max_iterations=3, jit_compile=False)
SIZE = (16, 20)
STYLE_LAYERS = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_1")}


def picture(seed, size=SIZE):
    noise = np.random.default_rng(seed).uniform(0, 255, (size[0] // 4, size[1] // 4, 3))
    return rwgen.resize_image(noise, *size)


def invert(image, settings=None, **options):
    config = InversionConfig(**{"optimizer": OPTIMIZER, **(settings or {})})
    return rwgen.invert(image, options.pop("layer", "conv2_1"), config=config, **options)


def synthesize(image, settings=None, **options):
    values = {"layers": ("conv1_1", "conv2_1"), "optimizer": OPTIMIZER, **(settings or {})}
    return rwgen.synthesize_texture(image, config=TextureConfig(**values), **options)


def stylize(image, settings=None, **options):
    values = {**STYLE_LAYERS, "optimizer": OPTIMIZER, **(settings or {})}
    return rwgen.transfer_style(image, image[::-1, 2:], config=StyleConfig(**values), **options)


TASKS = {"invert": invert, "texture": synthesize, "style": stylize}


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


@pytest.fixture(scope="module")
def network(small_network):
    return small_network()


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """An empty pool, which notes the searches that are made."""
    return empty_pool(monkeypatch)


def empty_pool(monkeypatch):
    pool = SearchPool()
    made = pool.made = []
    borrow = pool.borrow

    def noting(network, key, make):
        return borrow(network, key, lambda: made.append(make()) or made[-1])

    monkeypatch.setattr(pool, "borrow", noting)
    monkeypatch.setattr(pipeline, "SEARCHES", pool)
    return pool


@pytest.fixture
def alone(monkeypatch):
    """Calls a function as if nothing had been called before."""

    def call(function, *arguments, **options):
        with pytest.MonkeyPatch.context() as patch:
            empty_pool(patch)
            return function(*arguments, **options)

    return call


def same(first, second):
    return first.loss == second.loss and np.array_equal(first.image, second.image)


def traces(search):
    functions = (search._full_steps, search._evaluate, search._objective.evaluate)
    return [function.experimental_get_tracing_count() for function in functions]


def test_a_second_search_traces_nothing_and_gives_what_it_gives_alone(task, network, pool, alone):
    expected = alone(task, picture(2), network=network)
    first = task(picture(1), network=network)
    before = traces(pool.made[0])
    found = task(picture(2), network=network)
    assert len(pool.made) == 1
    assert traces(pool.made[0]) == before == [1, 1, 1]
    assert same(found, expected)
    assert not same(found, first)


CODE = """
import json
import numpy as np
import rwgen
from rwgen import OptimizerConfig, Recipe, TextureConfig
recipe = Recipe(blocks=((4, 1), (6, 1)), kernel_stddev=0.4)
image = np.random.default_rng(3).uniform(0, 255, (16, 20, 3))
optimizer = OptimizerConfig(max_iterations=3, jit_compile=False)
config = TextureConfig(layers=("conv1_1", "conv2_1"), optimizer=optimizer)
solution = rwgen.synthesize_texture(image, network=recipe, config=config)
print(json.dumps(solution.image.tolist()))
"""


@pytest.mark.slow
def test_a_call_after_others_gives_what_a_fresh_process_gives(fresh_process):
    recipe = rwgen.Recipe(blocks=((4, 1), (6, 1)), kernel_stddev=0.4)
    for seed in (1, 3):
        image = np.random.default_rng(seed).uniform(0, 255, (16, 20, 3))
        found = synthesize(image, network=recipe)
    np.testing.assert_array_equal(found.image, json.loads(fresh_process(CODE)))


@pytest.mark.usefixtures("eager")
def test_whitened_features_and_differences_are_those_of_the_image(network, pool, alone):
    settings = {"parameterization": "fourier-box", "whiten_features": True, "octaves": 0}
    images = [picture(seed) for seed in (1, 2)]
    expected = [alone(invert, image, settings, network=network) for image in images]
    found = [invert(image, settings, network=network) for image in images]
    assert len(pool.made) == 1
    assert all(map(same, found, expected))


@pytest.mark.usefixtures("eager")
def test_what_decides_a_graph_is_not_shared_and_the_rest_is(task, network, pool, alone):
    short = dataclasses.replace(OPTIMIZER, max_iterations=1)

    def expect(settings, made, image=None, **options):
        image = picture(1) if image is None else image
        settings = {"optimizer": short, **settings}
        before = len(pool.made)
        found = task(image, settings, network=network, **options)
        assert len(pool.made) - before == made
        assert same(found, alone(task, image, settings, network=network, **options))
        return found

    expect({}, 1)
    expect({"seed": 7, "weighting": "signed"}, 0, memory_limit=1 << 40)
    longer = dataclasses.replace(OPTIMIZER, max_iterations=2)
    assert expect({"optimizer": longer}, 0).iterations == 2
    expect({}, 1, picture(1, (20, 16)))
    expect({"parameterization": "box"}, 1)
    pairs = dataclasses.replace(OPTIMIZER, num_correction_pairs=2)
    expect({"optimizer": pairs}, 1)
    if task is not invert:
        expect({"whiten_gram": False}, 1)
        expect({"shift_features": False}, 0)
    if task is stylize:
        expect({"content_weight": 3.0, "style_weight": 2.0, "tv_weight": 5.0}, 0)
        for weight in ("content_weight", "style_weight", "tv_weight"):
            expect({weight: 0.0}, 1)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("settings", [{}, {"precision": "bfloat16"}], ids=["plain", "copied"])
def test_weights_and_layers_that_changed_are_noticed(settings, alone):
    recipe = rwgen.Recipe(blocks=((3, 1), (4, 1)), kernel_stddev=0.3)
    model = build_network(recipe, "conv2_1")

    def run():
        return synthesize(picture(1), settings, network=model)

    losses = [run().loss]
    model.set_weights([2 * values for values in model.get_weights()])
    losses.append(run().loss)
    model.get_layer("conv1_1").activation = keras.activations.tanh
    losses.append(run().loss)
    assert len(set(losses)) == 3
    assert same(run(), alone(run))


@keras.saving.register_keras_serializable("rwgen-tests")
class Nameless(keras.layers.Layer):
    """A layer that Keras cannot describe."""

    def __init__(self, factor):
        super().__init__(name="conv1_1", dtype="float64")
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        raise NotImplementedError


@pytest.mark.usefixtures("eager")
def test_networks_that_cannot_be_described_work_and_do_not_share(pool):
    inputs = keras.Input((None, None, 3), dtype="float64")
    model = keras.Model(inputs, Nameless(2.0)(inputs))
    for _ in range(2):
        assert invert(picture(1), network=model, layer="conv1_1").iterations > 0
    assert len(pool.made) == 2


def test_searches_go_with_their_network(pool, small_network):
    model = small_network()
    for task in TASKS.values():
        task(picture(1), network=model)
    assert pool.count(model) == 3
    found = weakref.ref(model)
    pool.made.clear()
    del model
    gc.collect()
    assert found() is None
    assert len(pool._idle) == 0


@pytest.mark.usefixtures("eager")
def test_sizes_of_a_search_share_too(network, pool):
    for seed in (1, 2):
        synthesize(picture(seed, (64, 72)), {"octaves": 1}, network=network)
    assert len(pool.made) == 2


def test_threads_do_not_share_a_search(network, pool):
    images = [picture(seed) for seed in range(2)]
    expected = [invert(image, network=network) for image in images]
    meeting = threading.Barrier(2)

    def call(image):  # in step with each other
        return invert(image, network=network, callback=lambda _: bool(meeting.wait(60) < 0))

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(call, images))
    assert all(map(same, found, expected))
    assert len(pool.made) == 2


@pytest.mark.usefixtures("eager")
def test_a_call_in_a_callback_has_a_search_of_its_own(task, network, alone):
    inner = []

    def callback(step):
        if step.iteration == 1:
            inner.append(task(picture(2), network=network))

    outer = task(picture(1), network=network, callback=callback)
    assert same(outer, alone(task, picture(1), network=network))
    assert same(inner[0], alone(task, picture(2), network=network))


@pytest.mark.usefixtures("eager")
def test_a_search_that_failed_is_dropped(task, network, pool):
    def fail(_snapshot):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        task(picture(1), network=network, callback=fail)
    assert pool.count(network) == 0
    task(picture(1), network=network)
    assert pool.count(network) == 1


def test_the_pool_drops_what_was_not_used_for_longest():
    pool = SearchPool(max_searches=3)
    models = [keras.Sequential(), keras.Sequential()]
    made = []

    def use(key, model=models[0]):
        with pool.borrow(model, key, lambda: made.append(key) or object()):
            pass

    for key in "abc":
        use(key)
    use("a")
    use("d")  # in place of b
    use("a", models[1])
    assert [pool.count(model) for model in models] == [3, 1]
    made.clear()
    for key in "acdb":
        use(key)
    assert made == ["b"]


@pytest.fixture
def built(monkeypatch):
    """The last layers of networks that are built from recipes, none of which is kept yet."""
    found = []

    def build(recipe, until):
        found.append(until)
        return build_network(recipe, until)

    monkeypatch.setattr(reuse, "build_network", build)
    reuse._built.cache_clear()
    yield found
    reuse._built.cache_clear()


@pytest.mark.usefixtures("eager")
def test_networks_that_are_named_are_built_once(built, pool, tmp_path):
    recipe = rwgen.Recipe(name="once", blocks=((3, 1), (4, 1)), kernel_stddev=0.3)
    (tmp_path / "own.json").write_text(recipe.to_json())
    first = synthesize(picture(1), network=str(tmp_path / "own.json"))
    again = synthesize(picture(1), network=recipe)
    assert same(first, again)
    assert (len(built), len(pool.made)) == (1, 1)
    other = dataclasses.replace(recipe, seed=1)
    assert not same(synthesize(picture(1), network=other), first)
    for _ in range(MAX_NETWORKS):
        invert(picture(1), network=recipe, layer="conv1_1")
    assert built == ["conv2_1", "conv2_1", "conv1_1"]
    assert reuse._built.cache_info().currsize == MAX_NETWORKS


@pytest.mark.usefixtures("eager")
def test_networks_are_kept_for_their_device_and_large_ones_not_at_all(built, monkeypatch):
    recipe = rwgen.Recipe(name="small", blocks=((3, 1),), kernel_stddev=0.3)
    for device in ("a", "b", "b"):
        monkeypatch.setattr(reuse, "_device", lambda device=device: device)
        invert(picture(1), network=recipe, layer="conv1_1")
    assert len(built) == 2
    monkeypatch.setattr(reuse, "MAX_PARAMETERS", 3 * 3 * 3 * 3)  # without biases
    for _ in range(2):
        invert(picture(1), network=recipe, layer="conv1_1")
    assert len(built) == 4


def test_the_device_is_that_of_the_context():
    with tf.device("/cpu:0"):
        assert reuse._device().endswith("CPU:0")


@pytest.mark.slow
def test_searches_that_recompute_features_share_too(network, pool, alone, monkeypatch):
    def recomputing(self, _limit, _work):
        return dataclasses.replace(self, recompute=True, jit_compile=True)

    monkeypatch.setattr(ComputePlan, "within", recomputing)
    expected = alone(synthesize, picture(2), network=network)
    synthesize(picture(1), network=network)
    assert same(synthesize(picture(2), network=network), expected)
    assert len(pool.made) == 1
