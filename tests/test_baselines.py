"""What baselines keep of their source, and what they do not."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.exposure import match_histograms

from rwgen.baselines import (
    matched_colours,
    shuffled_patches,
    shuffled_pixels,
    style_baselines,
    texture_baselines,
)
from rwgen.images import read_image

EXAMPLES = Path(__file__).parent.parent / "examples"


def noise(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)


def sorted_pixels(image):
    return sorted(map(tuple, image.reshape(-1, 3).tolist()))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 5))
def test_shuffled_pixels_have_exactly_the_colours(height, width, seed):
    image = np.random.default_rng(0).integers(0, 9, (height, width, 3)).astype(np.uint8)
    shuffled = shuffled_pixels(image, seed=seed)
    assert (shuffled.shape, shuffled.dtype) == (image.shape, image.dtype)
    assert sorted_pixels(shuffled) == sorted_pixels(image)


def test_shuffled_pixels_know_nothing_of_their_places():
    rows = np.repeat(np.arange(100.0)[:, np.newaxis, np.newaxis], 100, axis=1).repeat(3, axis=2)
    shuffled = shuffled_pixels(rows, seed=0)
    assert abs(np.corrcoef(shuffled.ravel(), rows.ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(shuffled[1:].ravel(), shuffled[:-1].ravel())[0, 1]) < 0.05


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 20))
def test_a_collage_consists_of_pieces_of_the_image(height, width, tile_side):
    image = noise(height, width)
    collage = shuffled_patches(image, tile_side=tile_side, seed=1)
    assert (collage.shape, collage.dtype) == (image.shape, image.dtype)
    side = min(tile_side, min(height, width) // 2)
    # Every pixel of this image is unlike all others, so the first one tells the place.
    places = {tuple(image[y, x]): (y, x) for y in range(height) for x in range(width)}
    corners = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    found = [places[tuple(collage[corner])] for corner in corners]
    for (row, column), (top, left) in zip(corners, found, strict=True):
        tile = collage[row : row + side, column : column + side]
        piece = image[top : top + tile.shape[0], left : left + tile.shape[1]]
        np.testing.assert_array_equal(tile, piece)
    assert len(set(found)) == len(found)


def test_a_seed_decides_every_bit(fresh_process):
    code = """
import hashlib
import numpy as np
from rwgen.baselines import texture_baselines
image = (np.arange(40 * 48 * 3) % 251).reshape(40, 48, 3).astype(np.float32)
digest = hashlib.sha256()
for name, found in texture_baselines(image, seed=3).items():
    digest.update(name.encode() + np.ascontiguousarray(found).tobytes())
print(digest.hexdigest())
"""
    image = (np.arange(40 * 48 * 3) % 251).reshape(40, 48, 3).astype(np.float32)
    digests = []
    for seed in (3, 4):
        digest = hashlib.sha256()
        for name, found in texture_baselines(image, seed=seed).items():
            digest.update(name.encode() + np.ascontiguousarray(found).tobytes())
        digests.append(digest.hexdigest())
    assert fresh_process(code) == digests[0] != digests[1]


def test_matched_colours_of_a_permutation_are_the_other_images_values():
    """Without equal values in an image of the same size, ranks pick each value once."""
    image, other = noise(20, 30), noise(30, 20, seed=1)
    found = matched_colours(image, other)
    for channel in range(3):
        wanted = np.sort(other[..., channel].ravel())
        order = image[..., channel].ravel().argsort()
        np.testing.assert_allclose(found[..., channel].ravel()[order], wanted, rtol=1e-5)


def test_matched_colours_are_near_to_scikit_images():
    image, other = (read_image(EXAMPLES / f"{x}.jpg")[::4, ::4] for x in ("astronaut", "coffee"))
    expected = match_histograms(image.astype(np.uint8), other.astype(np.uint8), channel_axis=-1)
    found = matched_colours(image, other)
    # It takes a value's highest rank, here it is the mean one.
    assert np.abs(found - expected).mean() < 2
    flat = np.full((8, 9, 3), 7.0, np.float32)
    assert len(np.unique(matched_colours(flat, image)[..., 0])) == 1
    np.testing.assert_array_equal(matched_colours(image, flat), np.full(image.shape, 7))


@pytest.mark.parametrize("shape", [(32, 32), (40, 90), (128, 64)])
def test_textures_have_their_baselines(shape):
    source, other = noise(*shape), noise(50, 40, seed=1)
    found = texture_baselines(source, other)
    crop, kept = found["crop of the source"], found.pop("another crop")
    assert list(found) == [
        "white noise", "shuffled pixels", "shuffled patches", "crop of the source",
    ]  # fmt: skip
    assert kept is other
    assert crop.shape == (*(max(32, side // 2) for side in shape), 3)
    places = [
        (y, x) for y in range(shape[0] - crop.shape[0] + 1)
        for x in range(shape[1] - crop.shape[1] + 1)
        if np.array_equal(source[y : y + crop.shape[0], x : x + crop.shape[1]], crop)
    ]  # fmt: skip
    assert len(places) == 1
    assert "another crop" not in texture_baselines(source)


def test_styles_have_their_baselines():
    content, styles = noise(32, 48), [noise(40, 40, seed=1), noise(33, 50, seed=2)]
    found = style_baselines(content, styles)
    assert list(found) == [
        "white noise", "content", "content in its colours 1", "style 1",
        "content in its colours 2", "style 2",
    ]  # fmt: skip
    assert {image.shape for image in found.values()} == {content.shape}
    assert found["content"] is content
    assert list(style_baselines(content, styles[:1]))[-2:] == ["content in its colours", "style"]
