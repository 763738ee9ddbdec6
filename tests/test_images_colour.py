"""Color conversion on reading, compared with profiles and formulas defined here."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from rwgen.images import read_image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
# Lab and sRGB primaries relative to D50, as in the ICC and sRGB specifications.
D50 = np.array([0.9642, 1.0, 0.8249])
SRGB_TO_XYZ = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
ADOBE_TO_XYZ = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, **options: Any) -> NDArray[np.float32]:
    return read_image(io.BytesIO(data), **options)


def icc(space: bytes, kind: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC version 2 profile."""
    table, body, offset = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    rest = space + connection + bytes(12) + b"acsp" + bytes(28) + fixed(D50) + bytes(48)
    header = struct.pack(">I4sI", offset + len(body), b"test", 0x02400000) + kind + rest
    return header + struct.pack(">I", len(tags)) + table + body


def fixed(numbers: Sequence[float] | NDArray[Any]) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def rgb_profile(to_xyz: NDArray[Any], gamma: float) -> bytes:
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(D50)}
    for index, name in enumerate((b"r", b"g", b"b")):
        tags |= {name + b"XYZ": b"XYZ \0\0\0\0" + fixed(to_xyz[:, index]), name + b"TRC": curve}
    return icc(b"RGB ", b"mntr", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(D50), b"kTRC": curve}
    return icc(b"GRAY", b"mntr", b"XYZ ", tags)


def cmyk_profile(cyan_lab: tuple[int, int, int]) -> bytes:
    """Paper is white, cyan alone has the given color, and everything else is black."""
    labs = {(0, 0, 0, 0): (100, 0, 0), (1, 0, 0, 0): cyan_lab}
    corners = [labs.get(ink, (0, 0, 0)) for ink in np.ndindex(2, 2, 2, 2)]
    grid = bytes(v for l, a, b in corners for v in (round(l * 2.55), a + 128, b + 128))  # noqa: E741
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(np.eye(3).ravel())
    table = head + bytes(range(256)) * 4 + grid + bytes(range(256)) * 3
    return icc(b"CMYK", b"prtr", b"Lab ", {b"wtpt": b"XYZ \0\0\0\0" + fixed(D50), b"A2B0": table})


def srgb_of_linear(linear: NDArray[Any]) -> NDArray[Any]:
    linear = np.clip(linear, 0, 1)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(255 * curve)


def srgb_of_lab(lab: Sequence[float]) -> NDArray[Any]:
    y = (lab[0] + 16) / 116
    f = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    xyz = D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return srgb_of_linear(np.linalg.solve(SRGB_TO_XYZ, xyz))


def test_rgb_profile_is_converted_to_srgb() -> None:
    colours = np.array([[[60, 90, 120], [128, 128, 128], [170, 120, 100], [20, 40, 30]]], np.uint8)
    profile = rgb_profile(ADOBE_TO_XYZ, 2.2)
    linear = (colours / 255) ** (round(2.2 * 256) / 256)
    expected = srgb_of_linear(linear @ ADOBE_TO_XYZ.T @ np.linalg.inv(SRGB_TO_XYZ).T)
    assert np.abs(expected - colours).max() > 9
    image = Image.fromarray(colours)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_allclose(read(encode(image, kind, icc_profile=profile)), expected, atol=1)
    palette = encode(image.quantize(4), "PNG", icc_profile=profile)
    np.testing.assert_allclose(read(palette), expected, atol=1)
    image.putalpha(Image.new("L", image.size, 51))
    mixed = read(encode(image, "PNG", icc_profile=profile))
    np.testing.assert_allclose(mixed, 255 + (expected - 255) * 0.2, atol=0.3)


def test_grey_profile_is_converted_to_srgb() -> None:
    profile = grey_profile(1.5)
    levels = np.arange(256, dtype=np.uint8)[None]
    expected = srgb_of_linear((levels / 255) ** 1.5)[0]
    image = Image.fromarray(levels)
    for kind in ("PNG", "TIFF"):
        got = read(encode(image, kind, icc_profile=profile))[0]
        np.testing.assert_allclose(got, np.repeat(expected[:, None], 3, 1), atol=0.6)
    image.putalpha(Image.new("L", image.size, 51))
    got = read(encode(image, "PNG", icc_profile=profile))[0, :, 0]
    np.testing.assert_allclose(got, 255 + (expected - 255) * 0.2, atol=0.3)
    deep = np.linspace(0, 65535, 1000).astype(np.uint16)[None]
    got = read(encode(Image.fromarray(deep), "PNG", icc_profile=profile))[0, :, 0]
    np.testing.assert_allclose(got, srgb_of_linear((deep[0] / 65535) ** 1.5), atol=0.6)
    assert len(np.unique(got)) > 800  # not rounded to 8 bits


def test_profiles_that_are_broken_or_do_not_fit_are_ignored() -> None:
    good = rgb_profile(ADOBE_TO_XYZ, 2.2)
    wrong = (b"", b"x", good[:200], good[:-8], grey_profile(1.5), cmyk_profile((60, -20, -20)))
    for profile in wrong:
        data = encode(Image.fromarray(RGB), "PNG", icc_profile=profile)
        np.testing.assert_array_equal(read(data), RGB)
    cyan = encode(Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "TIFF", icc_profile=good)
    np.testing.assert_array_equal(read(cyan), [[[0, 255, 255]]])


def test_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_allclose(read(encode(Image.fromarray(RGB), "PNG", icc_profile=profile)), RGB)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 255): (0, 0, 0),
            (0, 255, 255, 0): (255, 0, 0), (0, 0, 0, 155): (100, 100, 100)}  # fmt: skip
    options = {"quality": 100} if kind == "JPEG" else {}
    for ink, rgb in inks.items():
        data = encode(Image.new("CMYK", (8, 8), ink), kind, **options)
        assert kind != "JPEG" or b"Adobe\0" in data
        np.testing.assert_allclose(read(data)[4, 4], rgb, atol=1)
    lab, cyan = (60, -20, -20), Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    data = encode(cyan, kind, icc_profile=cmyk_profile(lab), **options)
    np.testing.assert_allclose(read(data)[4, 4], srgb_of_lab(lab), atol=3)


def test_lab_and_ycbcr_tiff() -> None:
    lab = Image.frombytes("LAB", (1, 1), bytes([round(60 * 2.55), 20, 246]))
    expected = srgb_of_lab((60, 20, -10))
    np.testing.assert_allclose(read(encode(lab, "TIFF"))[0, 0], expected, atol=2)
    ycbcr = Image.frombytes("YCbCr", (1, 1), bytes([150, 100, 160]))
    expected = 150 + np.array([1.402 * 32, -0.344136 * -28 - 0.714136 * 32, 1.772 * -28])
    np.testing.assert_allclose(
        read(encode(ycbcr, "TIFF", compression="tiff_lzw"))[0, 0], expected, atol=1
    )
