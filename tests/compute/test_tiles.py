"""Features in tiles against features of the whole image: sums, losses and gradients."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import rwgen
from rwgen import InvalidInputError, MemoryLimitError, OptimizerConfig, StyleConfig, TextureConfig
from rwgen.compute import memory, tiles
from rwgen.compute.memory import (
    architecture_workload,
    limited_pairs,
    plan_memory,
)
from rwgen.compute.plan import ComputePlan, network_workload
from rwgen.compute.readers import SumReading, Tile, plain_reader
from rwgen.compute.tiles import tiled_reader
from rwgen.network.features import feature_extractor
from rwgen.network.lookup import load_recipe
from rwgen.synthesis.image_minimizer import ImageMinimizer
from rwgen.synthesis.objectives import style_objective, texture_objective
from rwgen.synthesis.regions import regions_of

NETWORKS = {
    "pyramid": {"pyramid": True, "kernel_size": 7, "pooling": "binomial", "padding": "symmetric"},
    "zero padding": {},
    "symmetric padding": {"padding": "symmetric", "pooling": "max"},
    "binomial pools": {"pooling": "binomial", "kernel_size": 5},
}
LAYERS = ("conv2_1", "conv1_1")


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, small_network):
    return small_network(**NETWORKS[request.param])


@pytest.fixture(scope="module")
def images(smooth_image):
    """Noise on waves: every position differs. Odd sides: pools drop a row and a column."""

    def draw(seed, height, width):
        noise = np.random.default_rng(seed).normal(size=(1, height, width, 3)) / 5
        return smooth_image(height, width, seed) + noise

    return draw


def cubes(features, tile):
    """Sums that tell positions apart by their features, and by their place."""
    rows = tf.cast(tile.place[0] + tf.range(features.shape[1]), features.dtype)
    columns = tf.cast(tile.place[1] + tf.range(features.shape[2]), features.dtype)
    places = rows[:, tf.newaxis] * 3 + columns + 1
    return {
        "cubes": tf.reduce_sum(features**3),
        "placed": tf.reduce_sum(features * places[..., tf.newaxis], [0, 1, 2]),
    }


def with_gradient(read, image, readings, in_graph):
    def call(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            values = read(image, readings)
            loss = tf.add_n([tf.reduce_sum(tf.sin(v / 50)) for v in tf.nest.flatten(values)])
        return values, tape.gradient(loss, image)

    return (tf.function(call) if in_graph else call)(tf.constant(image))


@pytest.mark.parametrize("size", [(61, 47), (64, 32)])
@pytest.mark.usefixtures("eager")
def test_sums_and_gradients_are_those_of_the_whole_image(network, images, size):
    check_sums_and_gradients(network, images(0, *size), in_graph=False)


def test_they_are_in_a_graph_too(small_network, images):
    check_sums_and_gradients(small_network(**NETWORKS["pyramid"]), images(0, 37, 31), in_graph=True)


def check_sums_and_gradients(network, image, *, in_graph):
    extractor = feature_extractor(network, LAYERS)
    reading = SumReading(cubes, lambda sums: {**sums, "square": sums["cubes"] ** 2})
    readings = dict.fromkeys(LAYERS, reading)
    expected, gradient = with_gradient(plain_reader(extractor), image, readings, False)
    found, tiled = with_gradient(tiled_reader(extractor, 17), image, readings, in_graph)
    tf.nest.map_structure(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9), found, expected
    )
    np.testing.assert_allclose(tiled, gradient, atol=1e-9 * np.abs(gradient).max())


def test_features_never_exceed_those_of_a_tile_and_tiles_of_one_shape_share_a_graph(
    small_network, images
):
    extractor = feature_extractor(small_network(), LAYERS)
    seen = []

    def sums(features, tile):
        seen.append((tuple(features.shape[1:3]), tile.size))
        return tf.reduce_sum(features)

    tiled_reader(extractor, 16)(
        tf.constant(images(0, 96, 96)), {"conv1_1": SumReading(sums, lambda total: total)}
    )
    # All 36 tiles, since those at borders see more of the image on their other side.
    assert seen == [((16, 16), (96, 96))]


@given(st.integers(1, 300), st.integers(1, 90), st.sampled_from([1, 2, 8]), st.integers(0, 3))
def test_tiles_cover_an_axis_once(length, side, multiple, halo):
    spans = list(tiles.tile_spans(length, side, multiple, halo * multiple))
    assert [number for span in spans for number in range(span.begin, span.end)] == list(
        range(length)
    )
    for span in spans:
        assert span.begin % multiple == span.first % multiple == 0
        assert min(multiple, length) <= span.end - span.begin < side + 2 * multiple
        assert 0 <= span.first <= max(0, span.begin - halo * multiple)
        assert min(length, span.end + halo * multiple) <= span.last <= length
        seen = span.end - span.begin + 2 * halo * multiple
        assert span.last - span.first <= seen + multiple - 1
    if length % multiple == 0:
        assert len({span.shape for span in spans[:-1]}) <= 1


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("is_masked", [True, False])
def test_the_style_objective_is_the_same(network, images, is_masked):
    content, candidate = images(1, 53, 50), images(2, 53, 50)
    styles = [images(3, 40, 44), images(4, 51, 38)]
    config = StyleConfig(content_layers=("conv1_1", "conv2_1"), style_layers=LAYERS)
    mask = np.zeros((53, 50, 3))
    mask[:, 20:] = 255
    regions = regions_of(
        mask if is_masked else None, [], (53, 50), [(40, 44), (51, 38)], (0.5, 0.5),
        are_blended=False,
    )  # fmt: skip

    def evaluated(plan):
        objective = style_objective(network, content, styles, config, plan, regions)
        point = tf.constant(candidate)
        with tf.GradientTape() as tape:
            tape.watch(point)
            terms = objective(point)
            loss = tf.add_n(list(terms.values()))
        return {**terms, "gradient": tape.gradient(loss, point)}

    expected = evaluated(ComputePlan(jit_compile=False))
    found = evaluated(ComputePlan(jit_compile=False, tile=27))
    assert list(found) == list(expected)
    for name, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[name], value, atol=1e-8 * scale, err_msg=name)


def test_a_masked_style_is_the_same_in_a_graph(small_network, images):
    """As in a search, where a loop computes the tiles at places that are tensors."""
    network, content = small_network(), images(1, 44, 37)
    point = tf.constant(images(2, 44, 37))
    config = StyleConfig(content_layers=("conv1_1",), style_layers=LAYERS)
    mask = np.zeros((44, 37, 3))
    mask[:, 20:] = 255
    styles = [images(3, 40, 44), images(4, 51, 38)]
    regions = regions_of(mask, [], (44, 37), [(40, 44), (51, 38)], (0.5, 0.5), are_blended=False)

    def evaluated(plan):
        objective = style_objective(network, content, styles, config, plan, regions)

        @tf.function(autograph=False)
        def evaluate():
            with tf.GradientTape() as tape:
                tape.watch(point)
                loss = tf.add_n(list(objective(point).values()))
            return loss, tape.gradient(loss, point)

        return evaluate()

    expected = evaluated(ComputePlan(jit_compile=False))
    found = evaluated(ComputePlan(jit_compile=False, tile=16))
    for name, value, other in zip(("loss", "gradient"), expected, found, strict=True):
        scale = np.abs(value).max()
        np.testing.assert_allclose(other, value, atol=1e-8 * scale, err_msg=name)


@pytest.mark.usefixtures("eager")
def test_the_texture_objective_is_the_same(network, images):
    source, candidate = images(3, 44, 61), tf.constant(images(2, 53, 50))
    config = TextureConfig(layers=LAYERS)
    expected = texture_objective(network, source, config, ComputePlan(jit_compile=False))
    found = texture_objective(network, source, config, ComputePlan(jit_compile=False, tile=27))
    np.testing.assert_allclose(found(candidate)["style"], expected(candidate)["style"], rtol=1e-8)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("task", ["style", "texture"])
def test_a_task_that_does_not_fit_otherwise_is_computed_in_tiles(task, small_network, monkeypatch):
    monkeypatch.setattr(memory, "TILE_SIDES", (24, 16))
    monkeypatch.setattr(memory, "TILE_SURROUNDINGS", 4)
    monkeypatch.setattr(memory, "ONEDNN_FACTOR", 1)  # of the whole process, and no gain when tiny
    monkeypatch.setattr(memory, "TILED_VECTORS", 0)  # of few features, they are most
    monkeypatch.setattr(memory, "PAIRS_BYTES", 1)
    network = small_network()
    image = np.random.default_rng(0).uniform(0, 255, (64, 72, 3))
    optimizer = OptimizerConfig(max_iterations=3, num_correction_pairs=5, jit_compile=False)
    if task == "style":
        config = StyleConfig(
            content_layers=("conv2_1",), style_layers=LAYERS, octaves=0, margin=0,
            optimizer=optimizer,
        )  # fmt: skip

        def solve(limit):
            return rwgen.transfer_style(
                image, image[:40, ::-1], network=network, config=config, memory_limit=limit
            )
    else:
        config = TextureConfig(layers=LAYERS, octaves=0, margin=0, optimizer=optimizer)

        def solve(limit):
            return rwgen.synthesize_texture(
                image, network=network, config=config, memory_limit=limit
            )

    work = network_workload(
        network,
        LAYERS,
        size=(64, 72),
        targets=[(64, 72)],
        content_layers=LAYERS[:1] if task == "style" else (),
        optimizer=optimizer,
        has_tiles=True,
    )
    kept = work.peak_bytes(False)
    least = work.tiled_bytes(16)
    assert least < work.tiled_bytes(24) < kept
    plans = [plan_memory(work, limit).tile for limit in (None, kept, kept - 1, least)]
    assert plans == [None, None, 24, 16]
    used, pairs = [], []
    original, search = tiles.tiled_reader, ImageMinimizer.search
    monkeypatch.setattr(
        "rwgen.compute.plan.tiled_reader",
        lambda extractor, side, *rest: used.append(side) or original(extractor, side, *rest),
    )
    monkeypatch.setattr(
        ImageMinimizer,
        "search",
        lambda self, terms, optimizer, **rest: (
            pairs.append(optimizer.num_correction_pairs) or search(self, terms, optimizer, **rest)
        ),
    )
    expected = solve(None)
    assert not used
    found = solve(kept - 1)
    assert set(used) == {24}
    assert pairs == [3, 3]  # memory does not decide how many
    assert found.loss == pytest.approx(expected.loss, rel=1e-9)
    np.testing.assert_allclose(found.image, expected.image, atol=1e-5)


def large_workload(**settings):
    """That of an image whose features dominate the estimate."""
    layers = StyleConfig().style_layers
    return architecture_workload(
        load_recipe(StyleConfig().network).topology,
        layers,
        size=(4000, 4000),
        targets=[(64, 72)],
        content_layers=layers,
        optimizer=OptimizerConfig(num_correction_pairs=1, jit_compile=False),
        **settings,
    )


@pytest.mark.parametrize(
    ("pairs", "image_bytes", "expected"),
    [(20, 2**20, 20), (20, 2**25, 8), (20, 2**28, 3), (2, 2**28, 2)],
)
def test_pairs_take_half_a_gibibyte_or_are_three_if_the_settings_allow_as_many(
    pairs, image_bytes, expected
):
    assert limited_pairs(pairs, image_bytes) == expected


def test_an_ordinary_graph_is_kept_only_if_onednn_fits_too():
    work = large_workload(has_tiles=True)
    kept = work.peak_bytes(False)
    room = math.ceil(memory.ONEDNN_FACTOR * kept)
    assert work.tiled_bytes(1024) < kept
    assert [plan_memory(work, limit).tile for limit in (room, room - 1)] == [None, 1024]
    compiled = dataclasses.replace(work, compiled=True)
    assert plan_memory(compiled, compiled.peak_bytes(False)).tile is None


def test_without_tiles_what_does_not_fit_is_recomputed_or_refused():
    work = large_workload(propagate_differences=True)
    assert work.tiles == {}
    assert plan_memory(work, work.peak_bytes(True)).recompute
    with pytest.raises(MemoryLimitError):
        plan_memory(work, work.peak_bytes(True) - 1)
    tiled = dataclasses.replace(work, tiles={256: [1, 2, 3]})
    plan = ComputePlan().within(work.peak_bytes(True) - 1, tiled)
    assert (plan.tile, plan.recompute, plan.jit_compile) == (256, False, False)


def test_other_networks_and_readings_are_refused(small_network):
    inputs = keras.Input((None, None, 3))
    strided = keras.Model(inputs, {"a": keras.layers.Conv2D(2, 3, strides=2)(inputs)})
    with pytest.raises(InvalidInputError, match="stride 1"):
        tiled_reader(strided, 64)
    read = tiled_reader(feature_extractor(small_network(), LAYERS), 64)
    with pytest.raises(TypeError, match="SumReading"):
        read(tf.zeros([1, 8, 8, 3], tf.float64), {"conv1_1": tf.reduce_sum})


def test_a_plane_is_cut_to_a_tile():
    plane = tf.reshape(tf.range(5 * 7 * 2), [1, 5, 7, 2])
    tile = Tile((1, 3), (5, 7))
    found = tile.of(plane, tf.zeros([1, 2, 3, 9]))
    np.testing.assert_array_equal(found, plane[:, 1:3, 3:6])
    assert tile.share(tf.zeros([1, 2, 3, 9])) == 6 / 35
