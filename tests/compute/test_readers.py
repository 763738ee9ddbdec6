"""Features computed again give what kept features give, and keep less."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rwgen import OptimizerConfig, Recipe, StyleConfig, TextureConfig, build_network, minimize
from rwgen.compute.plan import ComputePlan
from rwgen.compute.readers import _segments, plain_reader, recomputing_reader
from rwgen.network.architecture import Architecture
from rwgen.network.features import feature_extractor, gram_matrix
from rwgen.synthesis.objectives import inversion_objective, style_objective, texture_objective

LAYERS = ("conv1_1", "pool1", "conv2_2", "conv3_1")
TOLERANCE = {"float64": 1e-12, "float32": 2e-4}


def network(dtype="float64", padding="zeros"):
    recipe = Recipe(name="small", padding=padding, kernel_stddev=0.4, bias_stddev=0.2)
    topology = Architecture("small", ((4, 1), (6, 2), (5, 1)))
    return build_network(recipe, architecture=topology, dtype=dtype)


def with_gradient(read, image, readings, jit_compile):
    @tf.function(autograph=False, jit_compile=jit_compile)
    def evaluate(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            values = read(image, readings)
            total = tf.add_n([tf.reduce_sum(value) for value in tf.nest.flatten(values)])
        return values, tape.gradient(total, image)

    return evaluate(image)


def both(features):
    return {"gram": gram_matrix(features), "mean": tf.reduce_mean(features**3)}


@pytest.mark.parametrize(
    ("dtype", "padding"),
    [("float64", "zeros"), ("float32", "zeros"), ("float64", "symmetric")],
)
@pytest.mark.parametrize("jit_compile", [True, False])
def test_readings_and_gradients_are_those_of_kept_features(
    smooth_image, dtype, padding, jit_compile
):
    extractor = feature_extractor(network(dtype, padding), LAYERS)
    image = tf.constant(smooth_image(19, 16).astype(dtype))
    readings = dict.fromkeys(LAYERS, both)
    expected = with_gradient(plain_reader(extractor), image, readings, True)
    read = recomputing_reader(extractor, jit_compile)
    found = with_gradient(read, image, readings, False)
    assert list(found[0]) == list(LAYERS)
    tf.nest.assert_same_structure(found, expected)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        assert one.dtype == dtype
        assert np.any(other.numpy())
        size = np.max(np.abs(other))
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE[dtype] * size)


def test_a_reading_has_its_own_gradient_and_only_what_is_read_is_computed(smooth_image):
    extractor = feature_extractor(network(), LAYERS)
    image = tf.constant(smooth_image(16, 16))
    gradients = []
    for reader_of in (plain_reader, recomputing_reader):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(image)
            values = reader_of(extractor)(image, dict.fromkeys(LAYERS[:3], tf.reduce_max))
        assert list(values) == list(LAYERS[:3])
        gradients.append([tape.gradient(values[name], image).numpy() for name in LAYERS[:3]])
    for one, other in zip(*gradients, strict=True):
        assert np.any(other)
        np.testing.assert_allclose(one, other, atol=1e-13)


@pytest.mark.parametrize("padding", ["zeros", "symmetric"])
def test_the_network_is_cut_at_its_pools(padding):
    extractor = feature_extractor(network(padding=padding), LAYERS)
    names = [[layer.name for layer in segment.layers[1:]] for segment in _segments(extractor)]
    assert names == [["conv1_1", "pool1"], ["conv2_1", "conv2_2", "pool2"], ["conv3_1"]]


@pytest.mark.usefixtures("eager")
def test_a_pool_that_data_go_around_is_no_cut(smooth_image):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3), dtype="float64")
    first = keras.layers.Conv2D(4, 3, padding="same", name="first", dtype="float64")(inputs)
    pool = keras.layers.AveragePooling2D(2, name="pool", dtype="float64")(first)
    around = keras.layers.Conv2D(4, 3, 2, "same", name="around", dtype="float64")(first)
    joined = keras.layers.Add(name="joined", dtype="float64")([pool, around])
    last = keras.layers.MaxPooling2D(2, name="last_pool", dtype="float64")(joined)
    top = keras.layers.Conv2D(2, 3, name="top", dtype="float64")(last)
    extractor = feature_extractor(keras.Model(inputs, top), ["first", "joined", "top"])
    assert len(_segments(extractor)) == 2
    image = tf.constant(smooth_image(16, 16))
    readings = dict.fromkeys(["first", "joined", "top"], both)
    expected = with_gradient(plain_reader(extractor), image, readings, True)
    found = with_gradient(recomputing_reader(extractor), image, readings, False)
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-12)


def test_only_the_inputs_of_segments_live_between_the_two_directions(smooth_image):
    """In the traced graph nothing but images, pools and small readings passes between calls."""
    extractor = feature_extractor(network(), LAYERS)
    read = recomputing_reader(extractor)
    image = tf.constant(smooth_image(32, 32))

    @tf.function(autograph=False)
    def gradient(image):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(image)
            values = read(image, dict.fromkeys(LAYERS, tf.reduce_sum))
            total = tf.add_n(list(values.values()))
        return tape.gradient(total, image)

    graph = gradient.get_concrete_function(image).graph
    shapes = {tuple(out.shape) for op in graph.get_operations() for out in op.outputs}
    assert (1, 16, 16, 4) in shapes  # pool1
    assert (1, 32, 32, 4) not in shapes  # conv1_1
    assert (1, 16, 16, 6) not in shapes  # conv2_1 and conv2_2


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("kind", ["inversion", "texture", "style"])
def test_objectives_are_the_same_either_way(smooth_image, kind):
    model = network()
    image, other, candidate = (smooth_image(16, 18, seed) for seed in range(3))
    layers = ("conv1_1", "conv2_2")

    def worth(plan):
        if kind == "inversion":
            objective = inversion_objective(model, image, layers, plan=plan)
        elif kind == "texture":
            config = TextureConfig(layers=layers)
            objective = texture_objective(model, image, config, plan)
        else:
            config = StyleConfig(content_layers=("conv2_2",), style_layers=layers)
            objective = style_objective(model, image, [other], config, plan)
        return {name: float(x) for name, x in objective(tf.constant(candidate)).items()}

    expected = worth(ComputePlan())
    assert worth(ComputePlan(recompute=True)) == pytest.approx(expected, rel=1e-9)
    assert all(value > 0 for value in expected.values())


def test_a_search_goes_the_same_way(smooth_image):
    model, image = network(), smooth_image(16, 16)
    solutions = []
    for plan in (ComputePlan(propagate_differences=True), ComputePlan(recompute=True)):
        objective = inversion_objective(model, image, ["conv2_1"], plan=plan)
        start, compiled = smooth_image(16, 16, seed=1), plan.compiles_objective
        config = OptimizerConfig(max_iterations=5)
        solutions.append(minimize(objective, start, config, jit_compile=compiled))
    assert solutions[1].loss == pytest.approx(solutions[0].loss, rel=1e-6)
    assert solutions[1].loss < solutions[1].initial_loss
