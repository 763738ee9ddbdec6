"""Holes filled with the texture around them."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import rwgen
from rwgen import InvalidInputError, OptimizerConfig, TextureConfig
from rwgen.compute.readers import plain_reader
from rwgen.network.features import feature_extractor, gram_matrix
from rwgen.network.pooling import BinomialPooling2D
from rwgen.network.tiling import tiling_network
from rwgen.synthesis.holes import (
    HOLE_SHARE,
    hole_at,
    hole_shares,
    positions_inside,
    positions_outside,
    selecting_reader,
)
from rwgen.synthesis.objectives import inpainting_objective
from rwgen.synthesis.pieces import fitting_piece, has_piece

LAYERS = ("conv1_1", "conv2_2")
CONFIG = TextureConfig(
    layers=LAYERS, octaves=0, optimizer=OptimizerConfig(max_iterations=40, jit_compile=False)
)


def disc(height, width, radius=7):
    rows, columns = np.mgrid[:height, :width]
    return (rows - height // 2) ** 2 + (columns - width // 2) ** 2 < radius**2


@pytest.mark.parametrize("tileable", [False, True])
def test_shares_are_those_of_kernels_of_equal_weights(small_network, tileable):
    """A network that averages gives the mean over all that a position sees."""
    network = small_network(padding="symmetric", bias_stddev=0.0)
    average = tiling_network(network) if tileable else network
    weights = network.get_weights()
    average.set_weights(
        [np.full_like(w, w.ndim > 1) / np.prod(w.shape[:-1]) for w in weights]  # no biases
    )
    hole = disc(24, 29)
    hole[:, :2] = True  # at the border too
    image = np.repeat(hole[np.newaxis, ..., np.newaxis], 3, axis=3).astype(np.float64)
    expected = feature_extractor(average, LAYERS)(image)
    found = hole_shares(network, LAYERS, hole, tileable=tileable)
    for name in LAYERS:
        np.testing.assert_allclose(found[name], expected[name].numpy()[0, ..., 0], atol=1e-12)


@pytest.mark.parametrize(("tileable", "mode"), [(False, "edge"), (True, "wrap")])
def test_binomial_pools_see_by_the_squares_of_their_weights(tileable, mode):
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, BinomialPooling2D(name="pool")(inputs))
    hole = np.random.default_rng(0).uniform(size=(9, 12)) < 0.4
    found = hole_shares(network, ["pool"], hole, tileable=tileable)["pool"]
    padded = np.pad(hole.astype(float), 1, mode)
    energy = np.multiply.outer([1, 9, 9, 1], [1, 9, 9, 1]) / 400
    for row, column in np.ndindex(4, 6):
        seen = padded[2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
        assert found[row, column] == pytest.approx(np.sum(seen * energy))


def test_every_position_is_inside_or_outside(small_network):
    shares = hole_shares(small_network(), LAYERS, disc(24, 24))
    inside, outside = positions_inside(shares), positions_outside(shares)
    for name in LAYERS:
        together = sorted([*inside[name], *outside[name]])
        assert together == list(range(shares[name].size))
        assert shares[name].ravel()[outside[name]].max() < HOLE_SHARE


def test_a_hole_that_a_layer_hardly_sees_has_the_positions_that_see_most_of_it():
    shares = {"deep": np.array([[0.0, 0.01], [0.02, 0.02]])}
    np.testing.assert_array_equal(positions_inside(shares)["deep"], [2, 3])
    np.testing.assert_array_equal(positions_outside(shares)["deep"], [0, 1, 2, 3])


def test_readings_get_the_features_of_some_positions(small_network, smooth_image):
    extractor = feature_extractor(small_network(), ["conv2_1"])
    image = tf.constant(smooth_image(8, 10))
    positions = np.array([0, 3, 7, 19])
    read = selecting_reader(plain_reader(extractor), {"conv2_1": positions})
    found = read(image, {"conv2_1": gram_matrix})["conv2_1"].numpy()[0]
    rows = extractor(image)["conv2_1"].numpy().reshape(-1, found.shape[0])[positions]
    np.testing.assert_allclose(found, rows.T @ rows / 4, rtol=1e-12)


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_a_smaller_hole_has_every_pixel_that_holds_some_of_it(height, width, data):
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    place = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    hole = np.zeros((height, width), bool)
    hole[place] = True
    found = hole_at(hole, size)
    assert found.shape == size
    ((row, column),) = np.argwhere(found)
    for number, at, before, after in zip((row, column), place, hole.shape, size, strict=True):
        assert number * before // after <= at <= (number + 1) * before / after


def places(height, width):
    """An image whose first two channels are the coordinates of its pixels."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.float64)


def test_the_piece_with_the_hole_s_surroundings_is_found():
    image = np.random.default_rng(0).uniform(0, 255, (64, 72, 3))
    image[36:60, 40:64] = image[6:30, 8:32] + 1.0  # nearly the same surroundings
    hole = np.zeros((64, 72), bool)
    hole[14:22, 16:24] = True
    image[hole] = 0
    found = fitting_piece(image, hole)
    np.testing.assert_array_equal(found[hole], image[44:52, 48:56].reshape(-1, 3))


@pytest.mark.parametrize("tileable", [False, True])
@pytest.mark.parametrize("corner", [(0, 0), (3, 17), (22, 30)])
def test_a_piece_is_whole_and_does_not_overlap_the_hole(corner, tileable):
    hole = np.zeros((32, 40), bool)
    hole[corner[0] : corner[0] + 9, corner[1] : corner[1] + 8] = True
    found = fitting_piece(places(32, 40), hole, tileable=tileable)[hole][:, :2].astype(int)
    assert not hole[found[:, 0], found[:, 1]].any()
    moved = found - np.argwhere(hole)
    if tileable:
        moved %= (32, 40)
    assert (moved == moved[0]).all()  # in one piece, which crosses borders only of a tile


def test_a_hole_may_leave_no_whole_piece():
    large = disc(40, 40, 14)
    assert fitting_piece(places(40, 40), large) is None
    assert not has_piece(large)
    assert has_piece(disc(40, 80, 7))


def test_only_the_pixels_of_the_hole_count_and_move(small_network, smooth_image):
    network, hole = small_network(), disc(20, 24, 5)
    image, candidate, other = (smooth_image(20, 24, seed=seed) for seed in range(3))
    objective = inpainting_objective(network, image, hole, CONFIG)
    inside = hole[np.newaxis, ..., np.newaxis]
    values = []
    for outside in (candidate, other):
        point = tf.constant(np.where(inside, candidate, outside))
        with tf.GradientTape() as tape:
            tape.watch(point)
            loss = objective(point)["style"]
        gradient = tape.gradient(loss, point).numpy()
        assert (gradient[0][~hole] == 0).all()
        assert (gradient[0][hole] != 0).all()
        values.append(float(loss))
    assert values[0] == values[1] > 0


def test_the_target_is_the_piece_at_the_hole_or_everything_outside(small_network, smooth_image):
    network, hole = small_network(), disc(24, 24, 5)
    image, piece = (smooth_image(24, 24, seed=seed) for seed in range(2))
    inside = hole[np.newaxis, ..., np.newaxis]

    def loss(candidate, **rest):
        objective = inpainting_objective(network, image, hole, CONFIG, **rest)
        return float(objective(tf.constant(candidate))["style"])

    assert loss(piece, piece=np.where(inside, piece, image)) == pytest.approx(0, abs=1e-20)
    assert loss(piece, piece=piece) > 1e-6  # its own surroundings are seen too
    assert loss(image) > 1e-6


def texture(size=48, seed=0):
    """Stripes with noise: a texture that goes on in a predictable way."""
    rows = np.mgrid[:size, :size][0]
    noise = np.random.default_rng(seed).normal(0, 8, (size, size, 3))
    return (np.where(rows % 8 < 4, 60, 190)[..., np.newaxis] + noise).clip(0, 255).round()


@pytest.mark.usefixtures("eager")
def test_outside_the_hole_nothing_changes_and_inside_what_was_there_does_not_count(small_network):
    image = texture(64)
    hole = np.roll(disc(64, 64, 6), (9, -9), axis=(0, 1))
    empty = np.where(hole[..., np.newaxis], 255.0, image)
    seen = []
    solutions = [
        rwgen.inpaint(
            source, hole, network=small_network(), config=CONFIG,
            callback=lambda step, best: seen.append(best()),
        )
        for source in (image, empty)
    ]  # fmt: skip
    for found in (*(solution.image for solution in solutions), *seen):
        np.testing.assert_array_equal(found[~hole], image[~hole])
    np.testing.assert_array_equal(solutions[0].image, solutions[1].image)
    found = solutions[0].image
    assert solutions[0].loss < solutions[0].initial_loss
    # The stripes go on: light and dark rows inside are those outside.
    light = (image.mean(axis=(1, 2)) > 125)[:, np.newaxis] & hole
    dark = ~(image.mean(axis=(1, 2)) > 125)[:, np.newaxis] & hole
    assert found[light].mean() > found[dark].mean() + 60


@pytest.mark.usefixtures("eager")
def test_a_hole_along_the_borders_makes_an_image_a_tile(small_network):
    image = texture(48) * np.linspace(0.4, 1.3, 48)[:, np.newaxis]
    hole = np.zeros((48, 48), bool)
    hole[:, :6] = hole[:, -6:] = True
    jumps = {}
    for tileable in (True, False):
        config = dataclasses.replace(CONFIG, tileable=tileable)
        found = rwgen.inpaint(image, hole, network=small_network(), config=config).image
        change = np.abs(np.roll(found, -1, axis=1) - found).mean(axis=(0, 2))
        jumps[tileable] = change[-1] / change[hole[0]][:-1].mean()
    assert jumps[True] < 1.5
    assert jumps[True] < jumps[False]


@pytest.mark.usefixtures("eager")
def test_sizes_at_which_the_hole_leaves_too_little_are_left_out(small_network, monkeypatch):
    sizes = []

    def objective(network, image, hole, *rest):
        sizes.append(hole.shape)
        return inpainting_objective(network, image, hole, *rest)

    monkeypatch.setattr("rwgen.synthesis.tasks.inpainting_objective", objective)
    config = dataclasses.replace(CONFIG, octaves=1, optimizer=OptimizerConfig(max_iterations=1))
    for radius in (6, 44):
        image = texture(80)
        rwgen.inpaint(image, disc(80, 80, radius), network=small_network(), config=config)
    assert sizes == [(40, 40), (80, 80), (80, 80)]


def test_without_a_configuration_a_piece_decides_how_long_a_hole_is_searched(
    small_network, monkeypatch
):
    configs = []

    def stop(task, *rest):
        configs.append(task.config)
        raise InvalidInputError("seen")

    monkeypatch.setattr("rwgen.synthesis.tasks.run", stop)
    monkeypatch.setattr(
        "rwgen.synthesis.tasks.TextureConfig", functools.partial(TextureConfig, layers=LAYERS)
    )
    for radius in (6, 28):
        with pytest.raises(InvalidInputError, match="seen"):
            rwgen.inpaint(texture(80), disc(80, 80, radius), network=small_network())
    assert [config.optimizer.max_iterations for config in configs] == [8, 200]
    assert [config.parameterization for config in configs] == ["fourier", "pixel"]


@pytest.mark.parametrize(
    ("hole", "expected"),
    [
        (np.ones((48, 40), bool), "48x48 pixels. Received: 40x48"),
        (np.zeros((48, 48), bool), "none of it"),
        (np.full((48, 48, 3), 255), "the whole image"),
        (disc(48, 48, 33), "leaves enough of the image"),
    ],
    ids=["another size", "empty", "everything", "nearly everything"],
)
def test_a_hole_that_cannot_be_filled_is_refused(small_network, hole, expected):
    with pytest.raises(InvalidInputError, match=expected):
        rwgen.inpaint(texture(), hole, network=small_network(), config=CONFIG)


def test_a_mask_is_white_where_the_hole_is(small_network):
    """Bool, gray and color masks are the same hole."""
    hole = disc(48, 48)
    config = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(max_iterations=0))
    images = [
        rwgen.inpaint(texture(), mask, network=small_network(), config=config).image
        for mask in (hole, hole * 200, np.repeat((hole * 255.0)[..., np.newaxis], 3, axis=2))
    ]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])
    assert (images[0] != texture())[hole].all(axis=1).mean() > 0.9


def test_a_network_without_a_grid_of_positions_is_refused():
    inputs = keras.Input((None, None, 3))
    strided = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="strided")(inputs)
    config = dataclasses.replace(CONFIG, layers=("strided",))
    with pytest.raises(InvalidInputError, match=r"for a hole. Received: strided"):
        rwgen.inpaint(texture(), disc(48, 48), network=keras.Model(inputs, strided), config=config)
