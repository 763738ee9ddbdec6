"""The loss terms against loops written from the paper's formulas."""

import numpy as np
import pytest
import tensorflow as tf

from rwgen.network.features import gram_matrix
from rwgen.synthesis.losses import content_loss, gram_loss, temporal_loss, total_variation


def features(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def papers_matrix(single):
    """F of one image: N channels times M positions."""
    return single.reshape(-1, single.shape[-1]).T


def papers_content_loss(x, x0):
    """Equation 1 without omega: sum over channel i and position k."""
    f, f0 = papers_matrix(x), papers_matrix(x0)
    channels, positions = f.shape
    total = 0.0
    for i in range(channels):
        for k in range(positions):
            total += (f[i, k] - f0[i, k]) ** 2
    return total / (2 * channels * positions)


def papers_gram(x):
    """G of equation 6: sum over position k for channels i and j."""
    f = papers_matrix(x)
    channels, positions = f.shape
    gram = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            for k in range(positions):
                gram[i, j] += f[i, k] * f[j, k]
    return gram


def papers_gram_loss(x, x0):
    """Equation 6 without mu, for images of one size."""
    channels, positions = papers_matrix(x).shape
    gram, gram0 = papers_gram(x), papers_gram(x0)
    total = 0.0
    for i in range(channels):
        for j in range(channels):
            total += (gram[i, j] - gram0[i, j]) ** 2
    return total / (4 * channels**2 * positions**2)


def papers_variation(image):
    """R of equation 9: every pair of neighbors once."""
    height, width, channels = image.shape
    total = 0.0
    for row in range(height):
        for column in range(width):
            for channel in range(channels):
                here = image[row, column, channel]
                if row + 1 < height:
                    total += (image[row + 1, column, channel] - here) ** 2
                if column + 1 < width:
                    total += (image[row, column + 1, channel] - here) ** 2
    return total


@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 1, 2), (3, 1, 7), (6, 2, 1)])
def test_the_content_loss_is_equation_1(shape):
    x, x0 = features(2, *shape), features(2, *shape, seed=1)
    found = content_loss(tf.constant(x), tf.constant(x0))
    expected = [papers_content_loss(*pair) for pair in zip(x, x0, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_content_loss_of_a_dense_layer_has_one_position():
    x, x0 = features(2, 7), features(2, 7, seed=1)
    expected = [np.sum((a - b) ** 2) / (2 * 7) for a, b in zip(x, x0, strict=True)]
    np.testing.assert_allclose(content_loss(tf.constant(x), tf.constant(x0)), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 1, 2), (3, 1, 4), (6, 2, 1)])
def test_the_gram_loss_is_equation_6_for_images_of_one_size(shape):
    x, x0 = features(2, *shape), features(2, *shape, seed=1)
    found = gram_loss(gram_matrix(tf.constant(x)), gram_matrix(tf.constant(x0)))
    expected = [papers_gram_loss(*pair) for pair in zip(x, x0, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_a_gram_matrix_is_the_papers_divided_by_its_positions():
    x = features(2, 4, 5, 3)
    expected = np.array([papers_gram(single) / 20 for single in x])
    np.testing.assert_allclose(gram_matrix(tf.constant(x)), expected, rtol=1e-11)


def test_gram_matrices_of_an_image_and_its_tiling_are_equal():
    x = features(1, 4, 5, 3)
    tiled = np.tile(x, (1, 3, 2, 1))
    found = gram_loss(gram_matrix(tf.constant(tiled)), gram_matrix(tf.constant(x)))
    np.testing.assert_allclose(found, [0.0], atol=1e-28)


def test_gram_matrices_of_other_sizes_are_compared_as_means():
    x, x0 = features(1, 4, 5, 3), features(1, 2, 7, 3, seed=1)
    means = papers_gram(x[0]) / 20 - papers_gram(x0[0]) / 14
    found = gram_loss(gram_matrix(tf.constant(x)), gram_matrix(tf.constant(x0)))
    np.testing.assert_allclose(found, [np.sum(means**2) / (4 * 9)], rtol=1e-11)


@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 5, 3), (4, 1, 2), (1, 1, 3)])
def test_the_total_variation_is_the_squared_sum_over_neighbours(shape):
    x = features(2, *shape)
    expected = [papers_variation(single) for single in x]
    np.testing.assert_allclose(total_variation(tf.constant(x)), expected, rtol=1e-12)


def test_the_temporal_loss_is_a_weighted_sum_for_each_image():
    x, x0, weights = features(2, 4, 5, 3), features(1, 4, 5, 3, seed=1), features(4, 5, 1, seed=2)
    expected = [
        sum(
            weights[row, column, 0] * (single[row, column, c] - x0[0, row, column, c]) ** 2
            for row in range(4)
            for column in range(5)
            for c in range(3)
        )
        for single in x
    ]
    found = temporal_loss(tf.constant(x), tf.constant(x0), tf.constant(weights))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: content_loss(x, tf.zeros_like(x)),
        lambda x: gram_loss(gram_matrix(x), 0.0),
        total_variation,
        gram_matrix,
    ],
    ids=["content", "gram_loss", "variation", "gram_matrix"],
)
def test_the_images_of_a_batch_do_not_mix(loss):
    x = features(3, 4, 5, 3)
    together = loss(tf.constant(x)).numpy()
    x[1] *= 100
    changed = loss(tf.constant(x)).numpy()
    np.testing.assert_allclose(changed[[0, 2]], together[[0, 2]], rtol=1e-14)
    assert not np.allclose(changed[1], together[1])


def test_one_target_serves_a_whole_batch():
    x, x0 = features(3, 4, 5, 3), features(1, 4, 5, 3, seed=1)
    contents = content_loss(tf.constant(x), tf.constant(x0))
    grams = gram_loss(gram_matrix(tf.constant(x)), gram_matrix(tf.constant(x0)))
    for number, single in enumerate(x):
        assert float(contents[number]) == pytest.approx(papers_content_loss(single, x0[0]))
        assert float(grams[number]) == pytest.approx(papers_gram_loss(single, x0[0]))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_sizes_may_be_unknown_while_a_graph_is_traced(jit_compile):
    x = features(2, 4, 5, 3)
    spec = tf.TensorSpec([None, None, None, 3], tf.float64)
    for function, reference in [
        (gram_matrix, lambda single: papers_gram(single) / 20),
        (total_variation, papers_variation),
        (lambda value: content_loss(value, 0.0), lambda single: np.mean(single**2) / 2),
    ]:
        graph = tf.function(function, [spec], autograph=False, jit_compile=jit_compile)
        expected = np.array([reference(single) for single in x])
        np.testing.assert_allclose(graph(tf.constant(x)), expected, rtol=1e-10)
