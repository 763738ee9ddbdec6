"""Read, write and resize images as sRGB arrays [height, width, 3] in 0..255, with Pillow."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError, features
from PIL.PngImagePlugin import PngInfo

from rwgen.checks import check_count
from rwgen.errors import ImageError, InvalidInputError, OutputError
from rwgen.files import FileName, atomic_write, check_writable, failure_reported, shown

ImageLike: TypeAlias = "ArrayLike | FileName | Image.Image"
"""An image as an array, a tensor, nested lists, a file name or an image of Pillow, see
`as_pixels`."""

DEFAULT_MAX_PIXELS: int = 100_000_000
"""Largest number of pixels read by default, 1.2 GB as float32. A forged header may claim more."""

# Pillow's other decoders are never used, whatever a file claims to be. JPEG's reads MPO too.
_READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def read_image(
    source: FileName | BinaryIO,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    report: Callable[[str], None] | None = None,
) -> NDArray[np.float32]:
    """Read an image as upright, opaque sRGB.

    The EXIF orientation is applied, an embedded ICC profile is converted to sRGB (perceptual
    intent; a damaged or unsuitable profile is ignored), and transparent pixels are blended with
    white. 16-bit gray keeps its full precision; 16-bit color is reduced to 8 bits by Pillow. An
    animation gives its first frame.

    Args:
        source: PNG, JPEG (also MPO), WebP, TIFF, GIF, BMP, PPM or, where the installed Pillow reads
            it, AVIF: a file name, `"-"` for standard input, or a binary stream, which is read to
            its end.
        max_pixels: Maximum number of pixels. Larger images are refused before decoding.
        report: Called with a phrase for each part of the file that the result leaves out:
            transparency, or frames of an animation.

    Returns:
        float32 array [height, width, 3], RGB in 0..255.

    Raises:
        ImageError: The source is unreadable, damaged, too large or not an image; or it has
            signed, 32-bit or floating-point samples, which have no standard white level.
        InvalidInputError: `max_pixels` is not positive.
    """
    _check_positive(max_pixels=max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        raise ImageError(
            f"Expected a file name or a binary stream. Received: {type(source).__name__}. Wrap "
            "encoded images in io.BytesIO."
        )
    with _open_image(source, max_pixels, _readable()) as image:
        _fix_transparency(image)
        image.load()
        if report is not None:
            for phrase in _left_out(image):
                report(phrase)
        return _pixels_of(image)


def as_pixels(image: ImageLike) -> NDArray[Any]:
    """Return the pixels of an image in any form.

    Args:
        image: [height, width, 3], RGB in 0..255, as an array, a tensor of any framework or nested
            lists; a file name, see `read_image`; or an image of Pillow, which is converted as
            `read_image` does.

    Returns:
        An array, whose shape is not checked.

    Raises:
        ImageError: The file or Pillow's image cannot be read, or the values are floats of a range
            of 0..1.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, Image.Image):
        with failure_reported(ImageError, "an image of 8 or 16 bits", image.mode, "Convert it."):
            return _pixels_of(image.copy())
    try:
        pixels = np.asarray(image)
    except ValueError as error:  # NumPy: rows of different lengths
        raise ImageError(f"Expected rows of equal length. Received: {error}") from None
    except (TypeError, RuntimeError) as error:  # a tensor on a GPU, or one with a gradient
        reason = " ".join(str(error).split())
        raise ImageError(f"Expected an image that NumPy can convert. Received: {reason}") from None
    if pixels.dtype.kind == "f" and pixels.size and 0 < np.abs(pixels).max() <= 1:
        raise ImageError(
            f"Expected pixels in 0..255. Received: floats from {pixels.min():.3g} to "
            f"{pixels.max():.3g}. Multiply values in 0..1 by 255."
        )
    return pixels


def read_metadata(source: FileName) -> dict[str, str]:
    """Read the text chunks of a PNG.

    Returns:
        Dictionary {keyword: text}.

    Raises:
        ImageError: The file cannot be read or is not an intact PNG.
    """
    with _open_image(source, DEFAULT_MAX_PIXELS, ("PNG",)) as image:
        return {str(key): str(text) for key, text in getattr(image, "text", {}).items()}


def write_image(
    destination: FileName, image: NDArray[Any], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write an image file atomically. Equal input gives equal bytes.

    Args:
        destination: File name ending in .png, .jpg, .jpeg (quality 95, full color
            resolution), .webp (lossless), .tif or .tiff; or `"-"` for PNG on standard output.
        image: Array [height, width, 3] of integers or floats, sRGB, nominally in 0..255. Values
            are rounded to 8 bits and clipped.
        metadata: Texts by keyword, stored in a PNG. Other formats ignore them.

    Raises:
        InvalidInputError: Unknown suffix, bad shape, non-finite pixels or bad metadata keyword.
        OutputError: The image could not be encoded or written.
    """
    atomic_write(destination, encode_image(image, destination, metadata=metadata))


def encode_image(
    image: NDArray[Any], destination: FileName = "-", *, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return what `write_image` would write.

    Args:
        image: See `write_image`.
        destination: File name whose suffix decides the format; `"-"` stands for a PNG.
        metadata: See `write_image`.

    Raises:
        InvalidInputError: See `write_image`.
        OutputError: The image could not be encoded.
    """
    kind = _writer_of(destination)
    pixels = np.rint(_validated(image)).clip(0, 255).astype(np.uint8)
    texts = PngInfo()
    for key, text in (metadata or {}).items():
        if not 1 <= len(key) <= 79 or max(key) > "\xff" or "\0" in key + text:
            expected = "Expected a metadata keyword of 1 to 79 Latin-1 characters, and no NUL."
            raise InvalidInputError(f"{expected} Received: {key!r}. Choose another keyword.")
        # A file name in the text may hold bytes that are not UTF-8, as lone surrogates.
        texts.add_itxt(key, text.encode("utf-8", "backslashreplace"))
    options = {"pnginfo": texts, "quality": 95, "subsampling": 0, "lossless": True}
    buffer = io.BytesIO()
    with failure_reported(OutputError, f"an image that {kind} can store", destination, "Try .png."):
        Image.fromarray(pixels).save(buffer, kind, **options)  # writers ignore others' options
    return buffer.getvalue()


def check_destination(destination: FileName) -> None:
    """Check, before any long work, that `write_image` can write to a destination.

    Raises:
        InvalidInputError: The suffix is unknown, the destination is a directory, or its directory
            is missing or not writable.
    """
    _writer_of(destination)
    check_writable(destination)


def resize_image(image: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Resize an image with the Lanczos filter.

    Args:
        image: Array [height, width, 3], nominally in 0..255.
        height: Height of the result in pixels.
        width: Width of the result in pixels.

    Returns:
        float32 array of the new size, clipped to 0..255; an unclipped copy if the size is the same.

    Raises:
        InvalidInputError: Bad shape, non-finite pixels, or a size that is not positive.
    """
    _check_positive(height=height, width=width)
    pixels = _validated(image).astype(np.float32)
    if pixels.shape[:2] == (height, width):
        return pixels
    channels = [  # separately in Pillow's mode F, so that nothing is rounded to 8 bits
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS))
        for channel in np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    ]
    return np.stack(channels, axis=2, dtype=np.float32).clip(0, 255)


def fit_longest_side(height: int, width: int, longest_side: int) -> tuple[int, int]:
    """Return (height, width) scaled up or down so that the longer side has a given length.

    The shorter side is rounded and at least 1.

    Raises:
        InvalidInputError: A number is not a positive integer.
    """
    _check_positive(height=height, width=width, longest_side=longest_side)
    longest = max(height, width)  # in integers, so that the longer side is exact
    scaled = [(2 * side * longest_side + longest) // (2 * longest) for side in (height, width)]
    return max(1, scaled[0]), max(1, scaled[1])


def central_square(image: NDArray[Any]) -> NDArray[Any]:
    """Return the largest centered square of an image [height, width, 3]."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _pixels_of(image: Image.Image) -> NDArray[np.float32]:
    """Convert a loaded image to upright, opaque float32 RGB; the image may be changed."""
    with contextlib.suppress(Exception):  # damaged EXIF data may raise anything; it is ignored
        ImageOps.exif_transpose(image, in_place=True)
    return _grey16_to_rgb(image) if image.mode[0] in "IF" else _to_rgb(image)


def _left_out(image: ImageFile.ImageFile) -> Iterator[str]:
    """Say what an array of opaque pixels does not hold of a loaded image."""
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema()[0] != 255:
            yield "transparent pixels are blended with white"
    # The further pictures of an MPO are not frames but previews and depth maps.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        yield "only the first of several frames is used"


def _to_rgb(image: Image.Image) -> NDArray[np.float32]:
    """Convert a loaded image of 8-bit samples to float32 RGB, blended with white."""
    if not image.has_transparency_data:
        return np.array(_to_srgb(image, image.info), np.float32)
    # Gray stays gray, so that a gray profile still fits.
    full = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
    alpha = np.array(full.getchannel("A"), np.float32)[..., np.newaxis] / np.float32(255)
    rgb = np.array(_to_srgb(full.convert(full.mode.removesuffix("A")), image.info), np.float32)
    # Blended in gamma-encoded sRGB, as viewers do; in this form white stays exactly 255.
    return 255 + (rgb - 255) * alpha


def _to_srgb(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """Convert an opaque image to RGB with its ICC profile (perceptual intent), if suitable."""
    image = image.convert("L") if image.mode == "1" else image
    with contextlib.suppress(ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(info["icc_profile"]))
        mode = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}[profile.profile.xcolor_space]
        # An RGB profile also applies to gray, palette and YCbCr pixels, converted to RGB.
        if mode == image.mode or (mode == "RGB" and image.mode not in ("CMYK", "LAB")):
            # LittleCMS' optimized tables can be wrong by 10 levels in dark gray.
            srgb, exact = ImageCms.createProfile("sRGB"), ImageCms.Flags.NOOPTIMIZE
            transform = ImageCms.buildTransform(profile, srgb, mode, "RGB", flags=exact)
            return transform.apply(image.convert(mode))
    # CMYK by a plain formula. Pillow, like browsers, takes it as inverted in every JPEG.
    return image.convert("RGB")


def _grey16_to_rgb(image: Image.Image) -> NDArray[np.float32]:
    """Convert a loaded 16-bit gray image to float32 RGB in 0..255; refuse other deep samples."""
    if not image.mode.startswith("I;16") and (image.mode, image.format) != ("I", "PPM"):
        raise ValueError("signed, 32-bit or float samples have no agreed white; convert to 16 bits")
    samples = np.asarray(image)
    # Pillow neither scales 12-bit TIFF samples nor inverts 16-bit white-is-zero ones.
    tags = getattr(image, "tag_v2", {})
    grey = samples * np.float32(255) / np.float32(4095 if tags.get(258) == (12,) else 65535)
    grey = 255 - grey if tags.get(262) == 0 else grey
    # ImageCms converts to 8 bits only; interpolating its gray ramp keeps the precision.
    ramp = np.asarray(_to_srgb(Image.linear_gradient("L"), image.info))[:, 0]
    rgb = np.empty((*grey.shape, 3), np.float32)
    for channel in range(3):
        rgb[..., channel] = np.interp(grey, np.arange(256), ramp[:, channel])
    rgb[samples == image.info.get("transparency")] = 255
    return rgb


def _fix_transparency(image: ImageFile.ImageFile) -> None:
    """Correct the transparent color of a PNG where Pillow would match the wrong pixels."""
    key, raw_mode = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(key, str) or (key is not None and raw_mode == "RGB;16B"):
        # A text chunk of that name, or 16-bit colors, of which Pillow compares the wrong bytes.
        del image.info["transparency"]
    elif isinstance(key, int) and raw_mode in ("L;2", "L;4"):
        # Pillow scales the samples to 8 bits, but not this one.
        image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)


def _readable() -> tuple[str, ...]:
    """Return the formats that are read; Pillow has AVIF since 11.3, where its library was found."""
    has_avif = "avif" in features.modules and features.check_module("avif")
    return (*_READABLE, "AVIF") if has_avif else _READABLE


@contextlib.contextmanager
def _open_image(source: Any, limit: int, formats: tuple[str, ...]) -> Iterator[ImageFile.ImageFile]:
    """Open an image of permitted size without decoding it. Any failure raises an ImageError."""
    kinds = " or ".join([", ".join(formats[:-1]), formats[-1]] if formats[1:] else formats)
    failure = failure_reported(ImageError, f"an intact {kinds} file", source, "Check the file.")
    with failure, warnings.catch_warnings(action="ignore"), contextlib.ExitStack() as stack:
        stream = sys.stdin.buffer if source == "-" else source
        if is_file := isinstance(stream, (str, os.PathLike)):
            stream = stack.enter_context(Path(source).open("rb"))
        if (
            not is_file or not stream.seekable()
        ):  # Pillow seeks, which callers' streams may not allow
            stream = io.BytesIO(stream.read())
        if not stream.read(1):
            raise EOFError("it is empty")
        try:
            image = Image.open(stream, formats=formats)
        except UnidentifiedImageError:
            raise ValueError("it is in another format, or damaged") from None
        except Image.DecompressionBombError as error:  # Pillow's own, larger limit
            (count,) = re.findall(r"\((\d+) pixels\)", str(error)) or ["too many"]
            raise _too_large(source, f"{count} pixels", limit) from None
        if image.width * image.height > limit:
            raise _too_large(source, f"{image.width}x{image.height} pixels", limit)
        if not image.width * image.height:
            raise ValueError("it has no pixels")
        yield image


def _too_large(source: Any, size: str, limit: int) -> ImageError:
    expected = f"Expected an image of at most {limit:,} pixels"
    return ImageError(f"{expected}. Received: {shown(source)} of {size}. Make it smaller first.")


def _writer_of(destination: FileName) -> str:
    """Return the name of Pillow's writer for a destination."""
    with failure_reported(InvalidInputError, f"a suffix of {_SUFFIXES}", destination, "Change it."):
        suffix = ".png" if destination == "-" else Path(destination).suffix.lower()
        if suffix not in _SUFFIXES:
            raise ValueError(f"the suffix is {suffix!r}")
        return Image.registered_extensions()[suffix]


def _validated(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image as an array, checked to be finite real numbers [height, width, 3]."""
    pixels = np.asarray(image)
    finite = pixels.dtype.kind in "uif" and bool(np.isfinite(pixels).all())
    if not finite or not pixels.size or pixels.shape[2:] != (3,):
        received = f"{pixels.dtype} of shape {pixels.shape}, all finite: {finite}"
        raise ImageError(
            f"Expected finite numbers of shape [height, width, 3]. Received: {received}"
        )
    return pixels


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        check_count(name, number.item() if isinstance(number, np.integer) else number, 1)
