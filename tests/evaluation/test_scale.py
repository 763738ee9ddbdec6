"""Scales at which images are judged."""

import numpy as np
import pytest

from rwgen import InvalidInputError
from rwgen.evaluation import scale_styles, scale_textures
from rwgen.images import resize_image


def noise(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)


def test_textures_keep_their_size_and_the_source_gets_that_of_the_run():
    result, source = noise(70, 33), noise(100, 80, seed=1)
    results, scaled, held_out = scale_textures({"mine": result}, source, 50)
    np.testing.assert_array_equal(results["mine"], result)
    np.testing.assert_array_equal(scaled, resize_image(source, 50, 40))
    assert held_out is None


@pytest.mark.parametrize(("size", "shape"), [(50, (34, 60)), (200, (136, 240)), (100, (68, 120))])
def test_a_held_out_piece_is_resized_by_the_sources_factor(size, shape):
    source, other = noise(100, 80), noise(68, 120, seed=1)
    _, _, held_out = scale_textures({}, source, size, held_out=other)
    np.testing.assert_array_equal(held_out, resize_image(other, *shape))


def test_stylised_images_get_the_contents_size_and_styles_the_longest_side():
    content, styles = noise(60, 120), [noise(40, 50, seed=1), noise(90, 70, seed=2)]
    results, scaled, fitted = scale_styles(
        {"a": noise(62, 120), "b": noise(30, 60)}, content, styles, 80
    )
    assert {image.shape for image in (*results.values(), scaled)} == {(40, 80, 3)}
    np.testing.assert_array_equal(scaled, resize_image(content, 40, 80))
    np.testing.assert_array_equal(results["b"], resize_image(noise(30, 60), 40, 80))
    assert [image.shape for image in fitted] == [(64, 80, 3), (80, 62, 3)]


def test_results_may_be_cropped_a_little_but_not_have_another_shape():
    content = noise(100, 100)
    for shape in ((105, 100), (100, 105)):
        scale_styles({"mine": noise(*shape)}, content, [content], 100)
    for shape in ((106, 100), (100, 106)):
        with pytest.raises(InvalidInputError, match="mine: expected the content's 100x100 pixels"):
            scale_styles({"mine": noise(*shape)}, content, [content], 100)


def test_images_too_small_at_their_scale_are_refused_by_name():
    large, small = noise(64, 64), noise(31, 64)
    for call, name in (
        (lambda: scale_textures({"mine": small}, large, 64), "mine"),
        (lambda: scale_textures({}, large, 31), "the source"),
        (lambda: scale_textures({}, large, 64, held_out=small), "the held-out piece"),
        (lambda: scale_styles({}, small, [large], 64), "the content"),
        (lambda: scale_styles({}, large, [large, small], 64), "style 2"),
        (lambda: scale_styles({"mine": large}, large, [large], 31), "mine"),
    ):
        with pytest.raises(InvalidInputError, match=f"^{name}: expected .* at least 32 pixels"):
            call()
