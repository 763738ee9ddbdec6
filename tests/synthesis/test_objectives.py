"""Objectives: which terms there are, what they are worth, and that targets stay frozen."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from rwgen import InvalidInputError, LayerError, StyleConfig, TextureConfig, feature_extractor
from rwgen.compute.plan import ComputePlan
from rwgen.synthesis.objectives import inversion_objective, style_objective, texture_objective
from rwgen.synthesis.regions import Region, Source

CONFIG = StyleConfig(
    content_layers=("conv2_1", "pool1"),
    style_layers=("conv1_1", "conv2_2"),
    content_weight=30.0,
    style_weight=2.0,
    tv_weight=500.0,
)


@pytest.fixture(scope="module")
def network(small_network):
    return small_network()


@pytest.fixture(scope="module")
def images(smooth_image):
    """Content, style, other style, candidate."""
    sizes = [(8, 7), (6, 9), (10, 8), (8, 7)]
    return [smooth_image(*size, seed=seed) for seed, size in enumerate(sizes)]


def worth(objective, candidate):
    return {name: float(value) for name, value in objective(tf.constant(candidate)).items()}


class Paper:
    """Equations 1, 4, 6 and 8 in NumPy; gradients of features by a product with TensorFlow."""

    def __init__(self, network, layer):
        self.extractor = feature_extractor(network, [layer])
        self.layer = layer

    def matrix(self, image):
        features = self.extractor(tf.constant(image))[self.layer].numpy()[0]
        return features.reshape(-1, features.shape[-1]).T

    def mean_gradient(self, image, cotangent):
        """Mean magnitude of the image's gradient of <F, cotangent>, F being N x M."""
        point = tf.constant(image)
        with tf.GradientTape() as tape:
            tape.watch(point)
            features = self.extractor(point)[self.layer]
            total = tf.reduce_sum(features * cotangent.T.reshape(features.shape))
        return np.mean(np.abs(tape.gradient(total, point).numpy()))

    def content(self, image, target):
        f, f0 = self.matrix(image), self.matrix(target)
        return np.sum((f - f0) ** 2) / (2 * f.size) / self.mean_gradient(target, f0 / f0.size)

    def positions(self, image, weights):
        """How much each position counts: means of blocks of weights, which sum to 1."""
        height, width = self.extractor(tf.constant(image))[self.layer].shape[1:3]
        weights = np.ones(image.shape[1:3]) if weights is None else np.asarray(weights)
        rows, columns = weights.shape[0] // height, weights.shape[1] // width
        cropped = weights[: height * rows, : width * columns]
        blocks = cropped.reshape(height, rows, width, columns).mean(axis=(1, 3)).ravel()
        return blocks / blocks.sum()

    def style(self, image, targets, shifted, whitened, shares=(1.0,), own=None, parts=None):
        """All positions of all targets in one matrix, each image's counting its share."""
        f, each = self.matrix(image), [self.matrix(target) for target in targets]
        f0 = np.concatenate(each, axis=1)
        own = self.positions(image, own)
        parts = [
            self.positions(target, part)
            for target, part in zip(targets, parts or [None] * len(targets), strict=True)
        ]
        counts = np.concatenate([w * x for x, w in zip(parts, shares, strict=True)])
        shift = (f0 @ counts)[:, np.newaxis] if shifted else 0.0
        f, f0 = f - shift, f0 - shift
        channels = len(f)
        metric = np.eye(channels)
        if whitened:
            covariance = (f0 * counts) @ f0.T
            variance = np.trace(covariance) / channels
            spread = covariance / variance + np.eye(channels)
            metric = scipy.linalg.fractional_matrix_power(spread, -0.5) / np.sqrt(variance)
        f, f0 = metric @ f, metric @ f0
        gram, gram0 = (f * own) @ f.T, (f0 * counts) @ f0.T
        gradient = 0
        for target, x, share, part in zip(targets, each, shares, parts, strict=True):
            x = metric @ (x - shift)
            # d/dF of ||F D F'||^2 / (4 N^2) is (F D F') F D / N^2; D is 1 / M without regions.
            cotangent = metric.T @ ((x * part) @ x.T) @ (x * part) / channels**2
            gradient += share * self.mean_gradient(target, cotangent)
        return np.sum((gram - gram0) ** 2) / (4 * channels**2) / gradient


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("whitened", [True, False])
def test_the_style_objective_is_equation_9(network, images, shifted, whitened):
    content, style, other, candidate = images
    config = dataclasses.replace(
        CONFIG, style_blend=(3, 1), shift_features=shifted, whiten_gram=whitened
    )
    found = worth(style_objective(network, content, [style, other], config), candidate)
    contents = [Paper(network, name).content(candidate, content) for name in CONFIG.content_layers]
    styles = [
        Paper(network, name).style(candidate, [style, other], shifted, whitened, (0.75, 0.25))
        for name in CONFIG.style_layers
    ]
    variation = sum(np.sum(np.diff(candidate, axis=axis) ** 2) for axis in (1, 2))
    assert found == {
        "content": pytest.approx(30 / 300 * sum(contents), rel=1e-9),
        "style": pytest.approx(2 * sum(styles), rel=1e-9),
        "tv": pytest.approx(500 / 20_000 * variation, rel=1e-9),
    }
    assert min(found.values()) > 0


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("whitened", [True, False])
def test_the_style_objective_of_regions_is_that_of_each_by_its_area(
    network, smooth_image, whitened, recompute
):
    sizes = [(8, 12), (6, 10), (10, 8), (8, 12)]
    content, style, other, candidate = (
        smooth_image(*size, seed=seed) for seed, size in enumerate(sizes)
    )
    draws = np.random.default_rng(0)
    left = draws.uniform(0, 1, (8, 12)).astype(np.float32)
    part = draws.uniform(0, 1, (6, 10)).astype(np.float32)
    regions = (
        Region((Source(0, 0.75, part), Source(1, 0.25)), left),
        Region((Source(1, 1.0),), 1 - left),
    )
    config = dataclasses.replace(CONFIG, whiten_gram=whitened)
    plan = ComputePlan(recompute=recompute, jit_compile=False)
    found = worth(
        style_objective(network, content, [style, other], config, plan, regions), candidate
    )
    expected = 0
    for name in CONFIG.style_layers:
        paper = Paper(network, name)
        expected += left.mean(dtype=float) * paper.style(
            candidate, [style, other], True, whitened, (0.75, 0.25), left, [part, None]
        )
        expected += (1 - left.mean(dtype=float)) * paper.style(
            candidate, [other], True, whitened, own=1 - left
        )
    assert found["style"] == pytest.approx(2 * expected, rel=1e-5)
    plain = worth(style_objective(network, content, [style, other], config), candidate)
    assert found["content"] == pytest.approx(plain["content"], rel=1e-6)
    assert found["style"] != pytest.approx(plain["style"], rel=1e-2)


def test_a_region_of_one_position_is_refused(network, images):
    content, style, _, _ = images
    point = np.zeros(style.shape[1:3], np.float32)
    point[2, 3] = 1
    regions = (Region((Source(0, 1.0, point),)),)
    with pytest.raises(InvalidInputError, match=r"a larger image or region.*conv1_1.*single"):
        style_objective(network, content, [style], CONFIG, regions=regions)


@pytest.mark.parametrize("layers", [("conv1_1",), ("conv2_2", "pool1", "conv1_1")])
def test_the_inversion_objective_is_equation_1_summed_over_layers(network, images, layers):
    target, _, _, candidate = images
    found = worth(inversion_objective(network, target, layers), candidate)
    expected = sum(Paper(network, name).content(candidate, target) for name in layers)
    assert found == {"content": pytest.approx(expected, rel=1e-9)}


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("whitened", [True, False])
def test_the_texture_objective_is_equation_5_for_another_size(network, images, shifted, whitened):
    _, source, _, candidate = images
    config = TextureConfig(
        layers=("conv1_1", "conv2_1"), shift_features=shifted, whiten_gram=whitened
    )
    found = worth(texture_objective(network, source, config), candidate)
    expected = sum(
        Paper(network, name).style(candidate, [source], shifted, whitened) for name in config.layers
    )
    assert found == {"style": pytest.approx(expected, rel=1e-9)}


@pytest.mark.parametrize("term", ["content", "style", "tv"])
def test_a_weight_of_zero_drops_its_term_and_leaves_the_others(network, images, term):
    content, style, _, candidate = images
    full = worth(style_objective(network, content, [style], CONFIG), candidate)
    config = dataclasses.replace(CONFIG, **{f"{term}_weight": 0})
    found = worth(style_objective(network, content, [style], config), candidate)
    assert found == {name: full[name] for name in full if name != term}


@pytest.mark.parametrize("term", ["content", "style"])
def test_layers_of_a_dropped_term_need_not_exist(network, images, term):
    content, style, _, candidate = images
    config = dataclasses.replace(CONFIG, **{f"{term}_weight": 0, f"{term}_layers": ("conv9_9",)})
    assert term not in worth(style_objective(network, content, [style], config), candidate)
    with pytest.raises(LayerError, match="conv9_9"):
        style_objective(
            network, content, [style], dataclasses.replace(config, **{f"{term}_weight": 1})
        )


def test_terms_grow_with_their_weights(network, images):
    content, style, _, candidate = images
    once = worth(style_objective(network, content, [style], CONFIG), candidate)
    for term in once:
        key = f"{term}_weight"
        config = dataclasses.replace(CONFIG, **{key: 4 * getattr(CONFIG, key)})
        found = worth(style_objective(network, content, [style], config), candidate)
        assert found == pytest.approx({**once, term: 4 * once[term]}, rel=1e-12)


def test_a_blend_of_one_image_is_that_image_and_its_order_does_not_count(network, images):
    content, style, other, candidate = images

    def styled(*styles, blend=()):
        config = dataclasses.replace(CONFIG, style_blend=blend)
        return worth(style_objective(network, content, styles, config), candidate)["style"]

    assert styled(style, style) == pytest.approx(styled(style), rel=1e-9)
    assert styled(style, style, other) == pytest.approx(
        styled(other, style, blend=(1, 2)), rel=1e-9
    )
    assert styled(style, other) != pytest.approx(styled(style, other, blend=(1, 2)), rel=1e-3)


def test_a_picture_made_of_both_styles_is_the_target_of_their_blend(smooth_image):
    """Behind a kernel of one pixel positions do not see each other, so images can be joined."""
    inputs = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(5, 1, activation="relu", name="pixels")(inputs)
    network = keras.Model(inputs, features)
    left, right = smooth_image(6, 8, seed=1), 0.1 * smooth_image(6, 4, seed=2)
    both = np.concatenate([left, right], axis=2)
    config = StyleConfig(
        style_layers=("pixels",), style_blend=(2, 1), content_weight=0, tv_weight=0
    )
    objective = style_objective(network, both, [left, right], config)
    assert worth(objective, both)["style"] < 1e-9 * worth(objective, left)["style"]


def test_a_style_without_a_share_is_not_looked_at(small_network, images):
    """No factor exists for a black image in a bias-free network."""
    content, style, _, candidate = images
    network, black = small_network(bias_stddev=0.0), np.zeros((1, 8, 8, 3))
    found = []
    for blend, styles in (((1, 0), [style, black]), ((), [style])):
        config = dataclasses.replace(CONFIG, style_blend=blend)
        found.append(worth(style_objective(network, content, styles, config), candidate))
    assert found[0] == found[1]
    with pytest.raises(InvalidInputError, match="single color"):
        style_objective(network, content, [style, black], CONFIG)


@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_a_style_of_one_position_has_no_deviations_from_its_mean(small_network, smooth_image, size):
    network, content = small_network(), smooth_image(8, 8)
    config = dataclasses.replace(CONFIG, style_layers=("conv1_1", "pool2"), whiten_gram=False)
    with pytest.raises(InvalidInputError, match=f"pool2 .*{size[1]}x{size[0]} .*single position"):
        style_objective(network, content, [smooth_image(*size)], config)
    style_objective(network, content, [smooth_image(4, 8)], config)
    plain = dataclasses.replace(config, shift_features=False)
    style_objective(network, content, [smooth_image(*size)], plain)


@pytest.mark.parametrize("number", [1, 3])
def test_as_many_blend_numbers_as_styles_are_needed(network, images, number):
    config = dataclasses.replace(CONFIG, style_blend=(1.0,) * number)
    with pytest.raises(InvalidInputError, match=f"each of the 2 style .*{number}"):
        style_objective(network, images[0], images[1:3], config)


def test_the_target_itself_has_no_loss(network, images):
    target = images[0]
    config = dataclasses.replace(CONFIG, tv_weight=0)
    found = worth(style_objective(network, target, [target], config), target)
    assert found == pytest.approx({"content": 0, "style": 0}, abs=1e-20)


def test_layers_may_be_named_as_in_keras_and_count_once(network, images):
    target, _, _, candidate = images
    expected = worth(inversion_objective(network, target, ["conv2_2"]), candidate)
    for names in (["block2_conv2"], ["conv2_2", "block2_conv2", "conv2_2"]):
        assert worth(inversion_objective(network, target, names), candidate) == expected


def test_targets_are_frozen_when_the_objective_is_made(network, images):
    content, style, _, candidate = (image.copy() for image in images)
    objective = style_objective(network, content, [style], CONFIG)
    before = worth(objective, candidate)
    content[:], style[:] = 0, 1
    assert worth(objective, candidate) == before


@pytest.mark.parametrize("layers", [["conv3_1"], ["conv1_1", "nothing"], []])
def test_unknown_layers_are_refused(network, images, layers):
    with pytest.raises(LayerError, match="expected"):
        inversion_objective(network, images[0], layers)
    if layers:
        with pytest.raises(LayerError, match=layers[-1]):
            texture_objective(network, images[0], TextureConfig(layers=tuple(layers)))
