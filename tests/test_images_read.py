"""Reading images. Expected values are computed here, not taken from Pillow."""

from __future__ import annotations

import io
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from rwgen.errors import ImageError, InvalidInputError
from rwgen.images import as_pixels, read_image, read_image_and_alpha, read_metadata

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY_16 = np.array([[0, 1, 128, 257, 40000, 65535]], np.uint16)

HAS_AVIF = "avif" in features.modules and features.check_module("avif")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, **options: Any) -> NDArray[np.float32]:
    return read_image(io.BytesIO(data), **options)


def png(width: int, depth: int, colour: int, row: bytes, **chunks: bytes) -> bytes:
    """A PNG of one row; `chunks` go before the pixels."""
    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    parts = {"IHDR": header, **chunks, "IDAT": zlib.compress(b"\0" + row), "IEND": b""}
    packed = b""
    for name, data in parts.items():
        body = name.encode() + data
        packed += struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + packed


def tiff(width: int, bits: int, data: bytes, sample_format: int = 1) -> bytes:
    """An uncompressed little-endian gray TIFF of one row."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1}
    tags |= {279: len(data), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("PPM", {}),
    ],
)
def test_lossless_formats_are_exact(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "no suffix"
    path.write_bytes(encode(Image.fromarray(RGB), kind, **options))
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        image = read_image(source)
        assert image.dtype == np.float32
        assert image.flags.writeable
        np.testing.assert_array_equal(image, RGB)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "WEBP"])
def test_lossy_formats_are_close(kind: str) -> None:
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    more: dict[str, Any] = {}
    if kind == "MPO":
        more = {"save_all": True, "append_images": [flat.rotate(90)]}
    expected = np.full((16, 16, 3), (200, 100, 50))
    np.testing.assert_allclose(read(encode(flat, kind, **more)), expected, atol=3)


@pytest.mark.parametrize(
    "data",
    [
        png(6, 16, 0, GREY_16.astype(">u2").tobytes()),
        encode(Image.fromarray(GREY_16), "TIFF"),
        encode(Image.fromarray(GREY_16), "TIFF", compression="tiff_lzw"),
        b"P5 6 1 65535\n" + GREY_16.astype(">u2").tobytes(),
        b"MM\0*" + struct.pack(">IH", 8, 9)
        + b"".join(
            struct.pack(">HHII", tag, 4, 1, value)
            for tag, value in {
                256: 6, 257: 1, 258: 16, 259: 1, 262: 1, 273: 122, 277: 1, 278: 1, 279: 12
            }.items()
        )
        + bytes(4) + GREY_16.astype(">u2").tobytes(),
    ],
    ids=["png", "tiff", "tiff-lzw", "pgm", "tiff-big-endian"],
)  # fmt: skip
def test_grey_of_16_bits_keeps_its_fraction(data: bytes) -> None:
    expected = np.repeat(GREY_16[..., None] / 257, 3, axis=2)
    np.testing.assert_allclose(read(data), expected, rtol=1e-6)


def test_tiff_grey_of_12_bits_and_white_is_zero() -> None:
    np.testing.assert_allclose(read(tiff(2, 12, bytes([0xFF, 0xF8, 0x00])))[0, :, 0],
                               [255, 0x800 * 255 / 4095], rtol=1e-6)  # fmt: skip
    inverted = encode(Image.fromarray(GREY_16), "TIFF", tiffinfo={262: 0})
    np.testing.assert_allclose(read(inverted)[0, :, 1], 255 - GREY_16[0] / 257, atol=1e-4)


def test_samples_without_a_white_level_are_refused() -> None:
    pfm = encode(Image.fromarray(np.ones((1, 2), np.float32)), "PPM")
    for data in (tiff(1, 32, bytes(4), 3), tiff(1, 32, bytes(4)), tiff(1, 16, bytes(2), 2), pfm):
        with pytest.raises(ImageError, match="no agreed white"):
            read(data)


def test_colour_of_16_bits_is_scaled_to_8() -> None:
    samples = np.array([0, 255, 256, 0x8012, 0xFFFF, 0x01FF], ">u2")
    np.testing.assert_array_equal(read(png(2, 16, 2, samples.tobytes()))[0],
                                  [[0, 0, 1], [128, 255, 1]])  # fmt: skip
    half = np.array([0, 0x8000, 0xFFFF, 0x8000], ">u2")  # alpha 128
    np.testing.assert_allclose(read(png(1, 16, 6, half.tobytes()))[0, 0],
                               [127, 255 - 127 * 128 / 255, 255], rtol=1e-6)  # fmt: skip
    # Pillow would compare low bytes, and make the black pixel transparent as well.
    keyed = png(2, 16, 2, bytes(6) + b"\1\0" * 3, tRNS=b"\1\0" * 3)
    np.testing.assert_array_equal(read(keyed)[0], [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("depth", "row", "grey"),
    [
        (1, b"\x40", [0, 255, 0, 0]),
        (2, b"\x1b", [0, 85, 170, 255]),
        (4, b"\x0f\x2a", [0, 255, 34, 170]),
        (8, b"\0\x01\x80\xff", [0, 1, 128, 255]),
    ],
)
def test_grey_depths_and_their_transparent_level(depth: int, row: bytes, grey: list[int]) -> None:
    np.testing.assert_array_equal(read(png(4, depth, 0, row))[0, :, 2], grey)
    for level in (0, 1):
        key = level * 255 // (2**depth - 1)
        masked = read(png(4, depth, 0, row, tRNS=struct.pack(">H", level)))[0, :, 0]
        np.testing.assert_array_equal(masked, [255 if value == key else value for value in grey])


def test_transparency_is_laid_over_white() -> None:
    rgba = np.array([[[0, 100, 255, 128], [10, 20, 30, 0], [1, 2, 3, 255]]], np.uint8)
    half = [255 - 255 * 128 / 255, 255 - 155 * 128 / 255, 255.0]
    for kind in ("PNG", "TIFF"):
        image = read(encode(Image.fromarray(rgba), kind))
        np.testing.assert_allclose(image[0], [half, [255.0] * 3, [1.0, 2.0, 3.0]], rtol=1e-6)
    grey_alpha = Image.fromarray(np.array([[[100, 51]]], np.uint8))
    np.testing.assert_allclose(read(encode(grey_alpha, "PNG"))[0, 0], 255 - 155 * 0.2, rtol=1e-6)
    grey_16 = png(2, 16, 0, b"\x10\0\x20\0", tRNS=b"\x20\0")
    np.testing.assert_allclose(read(grey_16)[0, :, 0], [4096 / 257, 255], rtol=1e-6)
    keyed = png(2, 8, 2, b"abcabd", tRNS=b"\0a\0b\0c")
    np.testing.assert_array_equal(read(keyed)[0], [[255] * 3, list(b"abd")])


def test_alpha_is_upright_and_of_every_kind() -> None:
    def alpha(data: bytes) -> Any:
        return read_image_and_alpha(io.BytesIO(data))[1]

    for opaque in (Image.fromarray(RGB), Image.fromarray(RGB).convert("RGBA")):
        assert alpha(encode(opaque, "PNG")) is None
    levels = np.arange(RGB[..., 0].size, dtype=np.uint8).reshape(RGB.shape[:2])
    exif = Image.Exif()
    exif[274] = 6
    turned = encode(Image.fromarray(np.dstack([RGB, levels])), "PNG", exif=exif)
    np.testing.assert_array_equal(alpha(turned), np.rot90(levels, -1))
    assert alpha(turned).dtype == np.float32
    colours = bytes([255, 0, 0, 0, 100, 0, 9, 8, 7])
    paletted = png(3, 8, 3, b"\2\1\0", PLTE=colours, tRNS=bytes([255, 51, 0]))
    np.testing.assert_array_equal(alpha(paletted), [[0, 51, 255]])
    grey_16 = png(2, 16, 0, b"\x10\0\x20\0", tRNS=b"\x20\0")
    np.testing.assert_array_equal(alpha(grey_16), [[255, 0]])
    keyed = png(2, 8, 2, b"abcabd", tRNS=b"\0a\0b\0c")
    np.testing.assert_array_equal(alpha(keyed), [[0, 255]])


def test_palettes() -> None:
    colours = bytes([255, 0, 0, 0, 100, 0, 9, 8, 7])
    np.testing.assert_array_equal(read(png(3, 8, 3, b"\2\1\0", PLTE=colours))[0],
                                  [[9, 8, 7], [0, 100, 0], [255, 0, 0]])  # fmt: skip
    image = read(png(3, 8, 3, b"\2\1\0", PLTE=colours, tRNS=bytes([255, 51, 0])))
    np.testing.assert_allclose(image[0], [[255] * 3, [204, 224, 204], [255, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2  # type: ignore[attr-defined]
    np.testing.assert_array_equal(read(data), [[[255, 0, 0]] * 4] * 3)


UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(orientation: int) -> None:
    expected = UPRIGHT[orientation](RGB)
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(RGB)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        np.testing.assert_array_equal(read(encode(image, kind, exif=exif, **options)), expected)
    palette = image.quantize(64)
    np.testing.assert_array_equal(read(encode(palette, "PNG", exif=exif)), expected)
    for compression in ("raw", "tiff_lzw"):
        turned = encode(image, "TIFF", compression=compression, tiffinfo={274: orientation})
        np.testing.assert_array_equal(read(turned), expected)
    plain, marked = (read(encode(image, "JPEG", exif=e)) for e in (Image.Exif(), exif))
    np.testing.assert_array_equal(marked, UPRIGHT[orientation](plain))
    grey = png(6, 16, 0, GREY_16.astype(">u2").tobytes(), eXIf=exif.tobytes()[6:])
    np.testing.assert_allclose(read(grey)[..., 0], UPRIGHT[orientation](GREY_16 / 257), rtol=1e-6)


def test_damaged_exif_and_odd_text_keys_do_no_harm() -> None:
    row = RGB[:1].tobytes()
    for chunk in ({"eXIf": b"MM\0*\0\0\0\x08\0\x05\1"}, {"eXIf": b"rubbish"},
                  {"tEXt": b"exif\0x"}, {"tEXt": b"icc_profile\0x"}, {"tEXt": b"transparency\0x"},
                  {"iTXt": b"exif\0\0\0\0\0x"}, {"acTL": bytes(8)}):  # fmt: skip
        np.testing.assert_array_equal(read(png(7, 8, 2, row, **chunk)), RGB[:1])


def test_standard_input_and_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.fromarray(RGB), "PNG")
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    np.testing.assert_array_equal(read_image("-"), RGB)
    with pytest.raises(ImageError, match=r"'-' \(it is empty"):
        read_image("-")
    stream = io.BytesIO(b"header" + data)
    stream.seek(6)
    np.testing.assert_array_equal(read_image(stream), RGB)
    assert not stream.closed
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ImageError):
        read_image("-")


@pytest.mark.skipif(not HAS_AVIF, reason="needs a Pillow that reads AVIF")
def test_avif_is_read_where_pillow_reads_it(tmp_path: Path) -> None:
    flat = Image.new("RGB", (16, 12), (200, 100, 50))
    np.testing.assert_allclose(read(encode(flat, "AVIF")), np.asarray(flat), atol=3)
    half = Image.new("RGBA", (16, 12), (0, 0, 0, 128))
    np.testing.assert_allclose(read(encode(half, "AVIF")), 127, atol=3)


def test_another_format_is_not_called_unknown_where_it_is_only_not_read(tmp_path: Path) -> None:
    data = encode(Image.fromarray(RGB), "ICO")
    with pytest.raises(ImageError, match=r"intact PNG, JPEG, .*in another format, or damaged"):
        read(data)


def test_size_limits() -> None:
    data = encode(Image.fromarray(RGB), "PNG")
    assert read(data, max_pixels=35).shape == (5, 7, 3)
    with pytest.raises(ImageError, match=r"at most 34 pixels\. Received: .* of 7x5 pixels"):
        read(data, max_pixels=34)
    sizes = {"PNG": 16, "BMP": 18}
    for side in (10_001, 2**30):  # beyond our limit and Pillow's warning; beyond Pillow's error
        for kind, at in sizes.items():
            forged = bytearray(encode(Image.fromarray(RGB), kind))
            forged[at : at + 8] = struct.pack(">II" if kind == "PNG" else "<ii", side, side)
            if kind == "PNG":
                forged[29:33] = struct.pack(">I", zlib.crc32(forged[12:29]))
            with pytest.raises(ImageError, match="pixels"):
                read(bytes(forged))
    for zero in (png(0, 8, 2, b""), b"P5 0 1 255\n", b"P5 1 0 255\n", tiff(0, 8, b"")):
        with pytest.raises(ImageError):
            read(zero)
    for bad in (0, -1, 1.5, "9", None):
        with pytest.raises(InvalidInputError, match="max_pixels"):
            read(data, max_pixels=bad)


def test_sources_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    reasons = {"missing": "No such file", ".": "Is a directory", "empty": "empty",
               "text": "another format", "nul\0": "null", "new\nline": "No such file"}  # fmt: skip
    for name, reason in reasons.items():
        path = tmp_path / name
        for reader in (read_image, read_metadata):
            with pytest.raises(ImageError, match=reason) as caught:
                reader(path)
            assert repr(str(path)) in str(caught.value)
            assert "Received: " in str(caught.value)
            assert "\n" not in str(caught.value)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match="Permission denied"):
        read_image(tmp_path / "empty")

    class Broken(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise ValueError("two\nlines")

    with pytest.raises(ImageError, match="two lines"):
        read_image(Broken())
    for wrong in (None, 3, b"bytes.png", io.StringIO("text")):
        with pytest.raises(InvalidInputError):
            read_image(wrong)  # type: ignore[arg-type]


def sample_files() -> dict[str, bytes]:
    image = Image.fromarray(RGB)
    exif = Image.Exif()
    exif[274] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more: dict[str, Any] = {"save_all": True, "append_images": [image.rotate(180)]}
    return {
        "png": encode(image, "PNG", icc_profile=profile, exif=exif),
        "palette": encode(image.quantize(9), "PNG", transparency=b"\0\x80"),
        "apng": encode(image, "PNG", **more),
        "jpeg": encode(image, "JPEG", icc_profile=profile, exif=exif),
        "progressive": encode(image, "JPEG", progressive=True),
        "cmyk": encode(image.convert("CMYK"), "JPEG"),
        "mpo": encode(image, "MPO", **more),
        "webp": encode(image, "WEBP", exif=exif),
        "tiff": encode(image, "TIFF", icc_profile=profile, tiffinfo={274: 6}),
        "lzw": encode(image, "TIFF", compression="tiff_lzw"),
        "lab": encode(image.convert("LAB"), "TIFF"),
        "grey16": encode(Image.fromarray(GREY_16), "PNG"),
        "gif": encode(image, "GIF", **more),
        "bmp": encode(image, "BMP"),
        "ppm": encode(image, "PPM"),
    }


FILES = sample_files()
if HAS_AVIF:
    FILES["avif"] = encode(Image.fromarray(RGB), "AVIF")
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(name=st.sampled_from(sorted(FILES)), data=st.data())
@settings(RELAXED, max_examples=300)
def test_a_truncated_file_is_refused_or_read_whole(name: str, data: st.DataObject) -> None:
    whole = FILES[name]
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        image = read(part)
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
    else:
        np.testing.assert_array_equal(image, read(whole))


@given(name=st.sampled_from(sorted(FILES)), data=st.data())
@settings(RELAXED, max_examples=300)
def test_damaged_bytes_raise_only_image_errors(name: str, data: st.DataObject) -> None:
    damaged = bytearray(FILES[name])
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=5)).items():
        damaged[place] = value
    try:
        image = read(bytes(damaged), max_pixels=100_000)
    except ImageError:
        return
    assert image.ndim == 3
    assert image.min() >= 0
    assert image.max() <= 255


MAGIC = [b"", *(data[:12] for data in FILES.values()), b"P3 ", b"P6 2 2 255\n", b"II+\0\x08\0\0\0"]


@given(magic=st.sampled_from(MAGIC), tail=st.binary(max_size=200))
@settings(RELAXED, max_examples=300)
def test_random_bytes_raise_only_image_errors(magic: bytes, tail: bytes) -> None:
    try:
        image = read(magic + tail, max_pixels=100_000)
    except ImageError:
        return
    assert image.shape[2] == 3


def test_what_the_pixels_leave_out_is_reported() -> None:
    def reported(data: bytes) -> list[str]:
        found: list[str] = []
        read(data, report=found.append)
        return found

    opaque, red = Image.fromarray(RGB), Image.new("RGB", RGB.shape[1::-1], (255, 0, 0))
    clear = opaque.convert("RGBA")
    assert reported(encode(opaque, "PNG")) == reported(encode(clear, "PNG")) == []
    assert reported(encode(opaque, "MPO", save_all=True, append_images=[red.copy()])) == []
    clear.putpixel((0, 0), (1, 2, 3, 254))
    assert reported(encode(clear, "PNG")) == ["transparent pixels are blended with white"]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        data = encode(opaque, kind, save_all=True, append_images=[red])
        assert reported(data) == ["only the first of several frames is used"]
    paletted = encode(Image.new("P", (4, 3)), "GIF", transparency=0)
    assert reported(paletted) == ["transparent pixels are blended with white"]


def test_images_of_pillow_are_converted_as_files_are(tmp_path: Path) -> None:
    for kind, data in FILES.items():
        with Image.open(io.BytesIO(data)) as image:
            if kind == "grey16" or image.mode == "RGBA":  # files have corrections of their own
                continue
            before = image.tobytes()
            np.testing.assert_allclose(as_pixels(image), read(data), atol=1e-3, err_msg=kind)
            assert image.tobytes() == before
    with pytest.raises(ImageError, match="'F'"):
        as_pixels(Image.new("F", (2, 2)))
