"""Writing images, atomic writing, resizing and sizes."""

from __future__ import annotations

import io
import os
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from rwgen.errors import ImageError, InvalidInputError, OutputError
from rwgen.files import atomic_write
from rwgen.images import (
    central_part,
    check_destination,
    fit_longest_side,
    read_image,
    read_image_and_alpha,
    read_metadata,
    resize_image,
    resize_plane,
    stores_alpha,
    unblended,
    write_image,
)

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
WRITERS = {".png": "PNG", ".PNG": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP",
           ".tif": "TIFF", ".tiff": "TIFF"}  # fmt: skip


def one_clear_line(error: pytest.ExceptionInfo[Exception]) -> bool:
    text = str(error.value)
    return "xpected " in text and "Received: " in text and "\n" not in text


@pytest.mark.parametrize("suffix", WRITERS)
def test_suffix_chooses_the_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{suffix}"
    check_destination(path)
    write_image(path, RGB, metadata={"key": "text"})
    first = path.read_bytes()
    write_image(str(path), RGB.astype(np.float64), metadata={"key": "text"})
    assert path.read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with Image.open(path) as image:
        assert image.format == WRITERS[suffix]
        assert image.mode == "RGB"
    if WRITERS[suffix] != "JPEG":
        np.testing.assert_array_equal(read_image(path), RGB)


def test_jpeg_is_of_quality_95_with_full_colour_resolution(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    write_image(path, RGB)
    ours, reference = io.BytesIO(path.read_bytes()), io.BytesIO()
    Image.fromarray(RGB).save(reference, "JPEG", quality=95, subsampling="4:4:4")
    assert ours.getvalue() == reference.getvalue()


def test_pixels_are_clipped_and_rounded_once(tmp_path: Path) -> None:
    values = [-9.0, -0.4, 0.4, 0.6, 1.5, 2.5, 254.4, 254.6, 300.0]
    expected = [0, 0, 0, 1, 2, 2, 254, 255, 255]
    for kind in (np.float16, np.float32, np.float64):
        write_image(tmp_path / "a.png", np.array(values, kind).reshape(1, 3, 3))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").ravel(), np.round(expected))
    for integer in (np.int8, np.uint8, np.int16, np.uint16, np.int64):
        pixels = np.array([[[0, 100, 127], [1, 2, 3]]], integer)
        write_image(tmp_path / "a.png", pixels)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)
    write_image(tmp_path / "a.png", np.full((1, 1, 3), 100_000))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[255] * 3]])


FLOATS = np.random.default_rng(1).uniform(-20, 275, (5, 7, 3)).astype(np.float32)
ALPHA = np.random.default_rng(2).uniform(0, 255, (5, 7)).astype(np.float32)


@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_16_bits_hold_the_rounded_floats(alpha: NDArray[np.float32] | None, tmp_path: Path) -> None:
    full = FLOATS if alpha is None else np.dstack([FLOATS, alpha])
    expected = np.round(full.astype(np.float64).clip(0, 255) / 255 * 65535)
    metadata = {"rwgen": "größe"}
    for name in ("a.png", "a.tif"):
        path = tmp_path / name
        write_image(path, FLOATS, metadata=metadata, alpha=alpha, bits=16)
        first = path.read_bytes()
        write_image(path, FLOATS, metadata=metadata, alpha=alpha, bits=16)
        assert path.read_bytes() == first
        with Image.open(path) as image:  # Pillow keeps the high bytes
            assert image.mode == ("RGB" if alpha is None else "RGBA")
            np.testing.assert_array_equal(np.asarray(image), expected // 256)
    samples = tf.io.decode_png((tmp_path / "a.png").read_bytes(), dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(samples, expected)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), expected)
    assert read_metadata(tmp_path / "a.png") == metadata


def test_a_16_bit_png_is_whole_for_a_strict_reader(tmp_path: Path) -> None:
    """Chunks with their lengths and checksums, the texts between the header and the pixels."""
    write_image(tmp_path / "a.png", FLOATS, metadata={"a": "b", "c": "d"}, bits=16)
    data, found = (tmp_path / "a.png").read_bytes(), []
    place = 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunk = data[place + 4 : place + 8 + length]
        (checksum,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(chunk)
        found.append(chunk[:4])
        place += 12 + length
    assert found == [b"IHDR", b"iTXt", b"iTXt", b"IDAT", b"IEND"]


def test_alpha_is_stored_where_it_can_be_and_laid_over_white_otherwise(tmp_path: Path) -> None:
    for name in ("a.png", "a.webp", "a.tif"):
        assert stores_alpha(name)
        write_image(tmp_path / name, RGB, alpha=ALPHA)
        with Image.open(tmp_path / name) as image:
            found = np.asarray(image)
        np.testing.assert_array_equal(found[..., :3], RGB)
        np.testing.assert_array_equal(found[..., 3], np.round(ALPHA))
        pixels, alpha = read_image_and_alpha(tmp_path / name)
        assert alpha is not None
        np.testing.assert_array_equal(alpha, np.round(ALPHA))
        np.testing.assert_array_equal(pixels, read_image(tmp_path / name))
    assert not stores_alpha("a.jpg")
    flat = np.full((16, 16, 3), [10, 100, 200])
    write_image(tmp_path / "a.jpg", flat, alpha=np.full((16, 16), 51))
    expected = 255 - (255 - flat) * 0.2
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), expected, atol=3)


def test_the_colors_of_transparent_pixels_are_found_again(tmp_path: Path) -> None:
    alpha = np.tile(np.array([255, 128, 64, 17, 16, 200, 99], np.uint8), (5, 1))
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "a.png")
    pixels, found = read_image_and_alpha(tmp_path / "a.png")
    assert found is not None
    np.testing.assert_allclose(unblended(pixels, found), RGB, atol=1e-3)
    np.testing.assert_array_equal(unblended(np.full((1, 1, 3), 255), np.zeros((1, 1))), 255)


@pytest.mark.parametrize("alpha", [np.zeros((5, 6)), np.full((5, 7), np.nan), np.zeros(3)])
def test_an_unusable_alpha_channel_is_refused(alpha: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        write_image(tmp_path / "a.png", RGB, alpha=alpha)
    assert one_clear_line(caught)


def test_a_plane_is_averaged_or_interpolated_without_overshoot() -> None:
    plane = np.random.default_rng(3).uniform(0, 1, (12, 9))
    means = plane.reshape(4, 3, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_plane(plane, 4, 3), means, rtol=1e-5)
    np.testing.assert_array_equal(resize_plane(plane, 12, 9), plane.astype(np.float32))
    larger = resize_plane(np.array([[0, 1]]), 1, 4)
    np.testing.assert_allclose(larger, [[0, 0.25, 0.75, 1]], rtol=1e-6)


@given(image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
@settings(deadline=None, max_examples=50)
def test_png_round_trip(image: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round.png"
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path), image)


@given(texts=st.dictionaries(
    st.text(st.characters(codec="latin-1", exclude_characters="\0"), min_size=1, max_size=79),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=4,
))  # fmt: skip
@settings(deadline=None, max_examples=50)
def test_metadata_round_trip(
    texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "texts.png"
    write_image(path, RGB, metadata=texts)
    assert read_metadata(path) == texts


def test_metadata_edges(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    lone = {"transparency": "x", "exif": "y", "icc_profile": "z", "file": "\udcff.png"}
    write_image(path, RGB, metadata=lone)
    np.testing.assert_array_equal(read_image(path), RGB)
    assert read_metadata(path) == {**lone, "file": "\\udcff.png"}
    assert "key\0\0\0\0\0größe".encode() not in path.read_bytes()
    write_image(path, RGB, metadata={"key": "größe"})
    assert "key\0\0\0\0\0größe".encode() in path.read_bytes()
    write_image(path, RGB)
    assert read_metadata(path) == {}
    for key, text in (("", "x"), ("x" * 80, "x"), ("日本", "x"), ("a\0b", "x"), ("a", "x\0")):
        with pytest.raises(InvalidInputError) as caught:
            write_image(path, RGB, metadata={key: text})
        assert one_clear_line(caught)
    write_image(tmp_path / "a.jpg", RGB)
    with pytest.raises(ImageError, match="intact PNG file"):
        read_metadata(tmp_path / "a.jpg")


def test_unusable_images_are_refused(tmp_path: Path) -> None:
    wrong: list[Any] = [np.zeros(shape) for shape in ((2, 2), (2, 2, 4), (1, 2, 2, 3), (0, 2, 3))]
    wrong += [np.full((2, 2, 3), bad) for bad in (np.nan, np.inf, -np.inf, 1j, True, "x", None)]
    for image in wrong:
        for use in (lambda a: write_image(tmp_path / "a.png", a), lambda a: resize_image(a, 2, 2)):
            with pytest.raises(InvalidInputError) as caught:
                use(image)
            assert one_clear_line(caught)
    assert not list(tmp_path.iterdir())


def test_destinations_are_checked_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "directory.png").mkdir()
    (tmp_path / "file").touch()
    check_destination("-")
    unusable = [
        "x",
        "x.bmp",
        ".png",
        "",
        "missing/x.png",
        "directory.png",
        "file/x.png",
        "nul\0.png",
    ]
    for name in unusable:
        with pytest.raises(InvalidInputError) as caught:
            check_destination(str(tmp_path / name) if name else name)
        assert one_clear_line(caught)
    for name in ("x", "x.bmp", ""):
        with pytest.raises(InvalidInputError, match=r"'\.png', '\.jpg', .*'\.tiff'"):
            write_image(name, RGB)
    for name in ("missing/x.png", "directory.png", "file/x.png", "nul\0.png"):
        with pytest.raises(OutputError) as written:
            write_image(tmp_path / name, RGB)
        assert one_clear_line(written)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(InvalidInputError, match="folder"):
        check_destination(tmp_path / "x.png")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    check_destination("x.png")
    for bad in (None, 3, b"x.png"):
        with pytest.raises(InvalidInputError):
            check_destination(bad)  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidInputError, match="folder"):
        check_destination(tmp_path / "x.png")
    with pytest.raises(OutputError, match="Permission denied"):
        write_image(tmp_path / "x.png", RGB)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "PIL.Image.Image.save"])
def test_failure_leaves_the_old_file_alone(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(step, fail)
    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_image(path, RGB)
    if isinstance(caught.value, OutputError):
        assert "No space left on device" in str(caught.value)
        assert repr(str(path)) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["image.png"]


def test_images_too_large_for_their_format(tmp_path: Path) -> None:
    for suffix, width in ((".webp", 16_384), (".jpg", 65_536)):
        with pytest.raises(OutputError) as caught:
            write_image(tmp_path / f"wide{suffix}", np.zeros((1, width, 3), np.uint8))
        assert one_clear_line(caught)
    assert not list(tmp_path.iterdir())


def test_permissions_follow_the_umask_or_the_old_file(tmp_path: Path) -> None:
    old_mask = os.umask(0o027)
    try:
        atomic_write(tmp_path / "new", b"1")
        atomic_write(tmp_path / "kept", b"1")
        (tmp_path / "kept").chmod(0o606)
        atomic_write(tmp_path / "kept", b"2")
    finally:
        os.umask(old_mask)
    assert (tmp_path / "new").stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "kept").stat().st_mode & 0o7777 == 0o606
    assert (tmp_path / "kept").read_bytes() == b"2"


def test_links_are_followed_and_pipes_written_directly(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link, dangling = (tmp_path / name for name in ("elsewhere/a", "link", "dangling"))
    target.write_bytes(b"old")
    link.symlink_to(target)
    dangling.symlink_to("elsewhere/b")
    for path in (link, dangling):
        atomic_write(path, b"new")
        assert path.is_symlink()
        assert path.read_bytes() == b"new"
    assert sorted(entry.name for entry in target.parent.iterdir()) == ["a", "b"]
    # A pipe of our own: with a real device, a mistake found as root would cost that device.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic_write(pipe, b"data")
        assert pipe.is_fifo()
        assert os.read(reading, 9) == b"data"
    finally:
        os.close(reading)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InvalidInputError):
        check_destination(tmp_path / "loop.bmp")


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=buffer))
    write_image("-", RGB, metadata={"key": "text"})
    np.testing.assert_array_equal(read_image(io.BytesIO(buffer.getvalue())), RGB)
    assert buffer.getvalue().startswith(b"\x89PNG")
    buffer.close()
    for stdout in (types.SimpleNamespace(buffer=buffer), None):
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(OutputError) as caught:
            write_image("-", RGB)
        assert one_clear_line(caught)


def test_resize_is_a_lanczos_filter_in_floating_point() -> None:
    image = np.zeros((1, 8, 3))
    image[0, :, 0], image[0, :, 1] = np.arange(8) * 10 + 0.25, 77.125
    image[0, 4:, 2] = 255
    got = resize_image(image, 1, 16)
    assert got.dtype == np.float32
    # The definition: sinc(x) sinc(x / 3) within three pixels, weights normalized at the edges.
    distance = (np.arange(16)[:, None] + 0.5) / 2 - (np.arange(8) + 0.5)
    weights = np.sinc(distance) * np.sinc(distance / 3) * (np.abs(distance) < 3)
    weights /= weights.sum(1, keepdims=True)
    np.testing.assert_allclose(got[0], np.clip(weights @ image[0], 0, 255), atol=1e-3)
    assert (weights @ image[0]).min() < -1  # so the clipping was needed
    np.testing.assert_allclose(resize_image(np.full((9, 7, 3), 0.3), 4, 15), 0.3, rtol=1e-6)
    assert resize_image(RGB, 3, 4).shape == (3, 4, 3)


@pytest.mark.parametrize("size", [(24, 40), (8, 10), (5, 30), (12, 7)])
def test_a_tile_is_resized_as_if_it_were_repeated(size: tuple[int, int]) -> None:
    tile = np.random.default_rng(2).uniform(80, 170, (12, 20, 3)).astype(np.float32)
    height, width = size
    around = resize_image(np.tile(tile, (3, 3, 1)), 3 * height, 3 * width)
    found = resize_image(tile, height, width, tileable=True)
    np.testing.assert_allclose(found, around[height : 2 * height, width : 2 * width], atol=1e-3)
    assert np.abs(found - resize_image(tile, height, width)).max() > 1


def test_resize_to_the_same_size_copies() -> None:
    image = np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32)
    same = resize_image(image, 4, 5)
    np.testing.assert_array_equal(same, image)
    assert not np.shares_memory(same, image)


SIZED: list[Callable[[Any], Any]] = [
    lambda n: resize_image(RGB, n, 3),
    lambda n: resize_image(RGB, 3, n),
    lambda n: fit_longest_side(n, 2, 3),
    lambda n: fit_longest_side(2, 3, n),
]


@pytest.mark.parametrize("use", SIZED)
def test_sizes_must_be_positive_integers(use: Callable[[Any], Any]) -> None:
    for bad in (0, -3, 2.0, "3", None, np.int64(0), np.float32(2)):
        with pytest.raises(InvalidInputError, match="an integer from 1") as caught:
            use(bad)
        assert one_clear_line(caught)
    use(np.int64(3))


SIDES = st.integers(1, 10**6)


@given(height=SIDES, width=SIDES, longest=SIDES)
def test_fit_longest_side(height: int, width: int, longest: int) -> None:
    new_height, new_width = fit_longest_side(height, width, longest)
    assert max(new_height, new_width) == longest
    assert min(new_height, new_width) >= 1
    scale = longest / max(height, width)
    assert abs(new_height - height * scale) <= max(0.500001, 1 - height * scale)
    assert abs(new_width - width * scale) <= max(0.500001, 1 - width * scale)
    assert fit_longest_side(width, height, longest) == (new_width, new_height)


@given(rows=SIDES, columns=SIDES, height=SIDES, width=SIDES)
def test_the_central_part_has_the_proportions(
    rows: int, columns: int, height: int, width: int
) -> None:
    image = np.broadcast_to(np.uint8(0), (rows, columns, 3))
    found = central_part(image, height, width).shape
    assert found[0] == rows or found[1] == columns
    assert found[0] <= rows
    assert found[1] <= columns
    exact = min(rows, columns * height / width), min(columns, rows * width / height)
    assert all(abs(found[i] - exact[i]) <= max(0.500001, 1 - exact[i]) for i in (0, 1))


def test_the_central_part_is_in_the_middle() -> None:
    image = np.arange(5 * 8).reshape(5, 8, 1)
    np.testing.assert_array_equal(central_part(image, 1, 1), image[:, 1:6])
    np.testing.assert_array_equal(central_part(image, 1, 4), image[1:3])


def test_fit_longest_side_examples() -> None:
    assert fit_longest_side(480, 640, 320) == (240, 320)
    assert fit_longest_side(640, 480, 1280) == (1280, 960)
    assert fit_longest_side(1, 1000, 10) == (1, 10)
    assert fit_longest_side(3, 2, 3) == (3, 2)
