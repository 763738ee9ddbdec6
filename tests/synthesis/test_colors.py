"""Linear color matching: moments against NumPy, the map against its closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwgen.synthesis.colors import match_colors


def picture(seed, height=9, width=7, spread=40.0):
    draws = np.random.default_rng(seed)
    mix = draws.normal(size=(3, 3))
    return draws.normal(size=(height, width, 3)) @ mix * spread + 128


def moments(image):
    colors = np.asarray(image, np.float64).reshape(-1, 3)
    return colors.mean(axis=0), np.cov(colors.T, bias=True)


def test_the_result_has_the_mean_and_covariance_of_the_reference():
    image, reference = picture(0), picture(1, 5, 12)
    result = match_colors(image, [reference])
    assert (result.shape, result.dtype) == (image.shape, np.float32)
    mean, covariance = moments(result)
    expected_mean, expected = moments(reference)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5)
    # The constant added to both covariances changes the result by about its share of them.
    np.testing.assert_allclose(covariance, expected, atol=np.trace(expected) * 0.02)


def test_of_independent_channels_each_is_scaled():
    """For diagonal covariances the map is the ratio of standard deviations, channel by channel."""
    signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 8).T.reshape(2, 4, 3)
    image, reference = 100 + signs * [10.0, 20, 40], 50 + signs * [30.0, 5, 1]
    ratios = np.sqrt((np.array([900, 25, 1]) + 1) / (np.array([100, 400, 1600]) + 1))
    expected = 50 + signs * [10, 20, 40] * ratios
    np.testing.assert_allclose(match_colors(image, [reference]), expected, rtol=1e-6)


def test_a_picture_keeps_its_own_colors():
    image = picture(3)
    np.testing.assert_allclose(match_colors(image, [image]), image, rtol=1e-4)


def test_a_uniform_image_takes_the_mean_color_and_stays_uniform():
    result = match_colors(np.full((4, 4, 3), 7), [picture(1)])
    np.testing.assert_allclose(
        result, np.broadcast_to(moments(picture(1))[0], (4, 4, 3)), rtol=1e-5
    )


@given(seed=st.integers(0, 99), share=st.floats(0, 1))
def test_a_blend_has_the_moments_of_a_picture_made_of_both(seed, share):
    """Of a share of k / 8, the picture is k copies of one reference and 8 - k of the other."""
    copies = round(share * 8)
    first, second = picture(seed), picture(seed + 1000)
    made = np.concatenate([first] * copies + [second] * (8 - copies))
    blend = match_colors(picture(5), [first, second], [copies / 8, 1 - copies / 8])
    np.testing.assert_allclose(blend, match_colors(picture(5), [made]), rtol=1e-3, atol=1e-2)


def test_every_reference_needs_a_share():
    with pytest.raises(ValueError, match="zip"):
        match_colors(picture(0), [picture(1), picture(2)])
