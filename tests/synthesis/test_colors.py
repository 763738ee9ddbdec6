"""Colors of style transfers: moments against NumPy, maps and chroma against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwgen.synthesis.colors import (
    gray,
    luminance,
    match_colors,
    result_colors,
    search_colors,
    with_chroma,
)
from rwgen.synthesis.regions import Region, Source, whole


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


WEIGHTS = np.array([299, 587, 114]) / 1000


def pixels(seed, height=6, width=5):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3))


def differences(image):
    """R - Y and B - Y, to which every definition of chroma is proportional."""
    brightness = np.einsum("hwc,c->hw", image, WEIGHTS)
    return image[..., 0] - brightness, image[..., 2] - brightness


def test_chroma_is_exactly_that_of_the_other_image_and_valid():
    photo, found = pixels(0), pixels(1) * 1.5 - 60
    result = with_chroma(found, photo)
    np.testing.assert_allclose(differences(result), differences(photo), atol=1e-9)
    assert result.min() >= -1e-9
    assert result.max() <= 255 + 1e-9


def test_luminance_is_the_nearest_that_the_chroma_allows():
    photo, found = pixels(2), pixels(3)
    result = with_chroma(found, photo)
    for place in np.ndindex(photo.shape[:2]):
        own, wanted = photo[place], found[place] @ WEIGHTS
        offsets = np.linspace(-255, 255, 5101)
        lights = own @ WEIGHTS + offsets
        valid = [light for light, offset in zip(lights, offsets, strict=True)
                 if (own + offset).min() >= 0 and (own + offset).max() <= 255]  # fmt: skip
        best = min(valid, key=lambda light, wanted=wanted: abs(light - wanted))
        assert result[place] @ WEIGHTS == pytest.approx(best, abs=0.1)


def test_an_image_with_its_own_chroma_is_itself():
    np.testing.assert_allclose(with_chroma(pixels(4), pixels(4)), pixels(4), atol=1e-9)


def test_the_search_for_luminance_sees_gray_images_of_equal_mean_and_contrast():
    photo, styles = picture(0), [picture(1, 4, 5), picture(2, 8, 3)]
    content, matched = search_colors("content", photo, styles, whole((0.5, 0.5)))
    lights = photo @ WEIGHTS
    np.testing.assert_allclose(content, np.stack([lights] * 3, axis=2), rtol=1e-5)
    for style, original in zip(matched, styles, strict=True):
        before = original @ WEIGHTS
        # MIN_VARIANCE is added to each of the three equal channels: a third of it to their mean.
        ratio = np.sqrt((lights.var() + 1 / 3) / (before.var() + 1 / 3))
        expected = (before - before.mean()) * ratio + lights.mean()
        np.testing.assert_allclose(style, np.stack([expected] * 3, axis=2), rtol=1e-4, atol=1e-3)


def test_each_choice_maps_the_images_that_it_names():
    photo, styles = picture(0), [picture(1), picture(2)]
    shares = (0.25, 0.75)
    to_styles = match_colors(photo, styles, shares)
    to_photo = [match_colors(style, [photo]) for style in styles]
    expected = {
        "style": (to_styles, styles),
        "content-after": (to_styles, styles),
        "palette": (photo, to_photo),
        "mixed": (photo, styles),
    }
    for colors, (content, others) in expected.items():
        found = search_colors(colors, photo, styles, whole(shares))
        np.testing.assert_array_equal(found[0], content)
        for style, other in zip(found[1], others, strict=True):
            np.testing.assert_array_equal(style, other)


def test_only_the_colors_of_the_content_are_put_back_after_the_search():
    photo, image = pixels(5), pixels(6)
    for colors in ("style", "palette", "mixed"):
        assert result_colors(colors, image, photo) is image
    for colors in ("content", "content-after"):
        np.testing.assert_array_equal(
            result_colors(colors, image, photo), with_chroma(image, photo)
        )


def test_gray_has_the_luminance_of_the_image():
    image = pixels(7)
    np.testing.assert_allclose(luminance(gray(image)), luminance(image), rtol=1e-6)
    assert np.ptp(gray(image), axis=2).max() == 0


def test_each_region_takes_the_colors_of_its_sources():
    photo, styles = picture(0, 8, 8), [picture(1, 6, 6), picture(2, 4, 9)]
    left = np.zeros((8, 8), np.float32)
    left[:, :5] = 1
    top = np.zeros((6, 6), np.float32)
    top[:2] = 1
    regions = (Region((Source(0, 1.0, top),), left), Region((Source(1, 1.0),), 1 - left))
    content, _ = search_colors("style", photo, styles, regions)
    for found, reference in ((content[:, :5], styles[0][:2]), (content[:, 5:], styles[1])):
        own = photo[:, :5] if found.shape[1] == 5 else photo[:, 5:]
        np.testing.assert_allclose(found, match_colors(own, [reference]), rtol=1e-4, atol=1e-3)
    _, (first, second) = search_colors("palette", photo, styles, regions)
    np.testing.assert_allclose(first[:2], match_colors(styles[0][:2], [photo[:, :5]]), atol=1e-3)
    np.testing.assert_allclose(second, match_colors(styles[1], [photo[:, 5:]]), atol=1e-3)
