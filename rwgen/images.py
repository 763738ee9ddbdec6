"""Image files to arrays [height, width, 3] of sRGB 0..255 and back; Pillow is used only here."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from rwgen.errors import ImageError, InvalidInputError, OutputError
from rwgen.files import FileName, atomic_write, check_writable, failure_reported

DEFAULT_MAX_PIXELS: int = 100_000_000  # 1.2 GB as float32; a forged header promises terabytes
# No other decoder can be reached, whatever a file claims to be. MPO is opened by the JPEG one.
_READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def read_image(
    source: FileName | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> NDArray[np.float32]:
    """Reads a picture as sRGB, upright and opaque; of an animation the first frame.

    The EXIF orientation is applied, an embedded ICC profile is converted to sRGB (perceptual
    intent; a broken or unfitting one is ignored), and transparency is laid over white. 16-bit
    grey keeps its fraction; of 16-bit colour Pillow keeps the high byte, a scaling to 8 bits.

    Args:
        source: PNG, JPEG (also MPO), WebP, TIFF, GIF, BMP or PPM: a file name, `"-"` for standard
            input, or a binary stream, which is read to its end.
        max_pixels: Larger images are refused before they are decoded.

    Returns:
        float32 array [height, width, 3], RGB in 0..255.

    Raises:
        ImageError: Unreadable, no image, damaged or too large; or with signed, 32-bit or
            floating-point samples, for which no standard says what is white.
        InvalidInputError: `max_pixels` is not positive.
    """
    _check_positive(max_pixels=max_pixels)
    with _opened(source, max_pixels, _READABLE) as image:
        _mend_transparency(image)
        image.load()
        with contextlib.suppress(Exception):  # damaged EXIF raises anything: leave it unturned
            ImageOps.exif_transpose(image, in_place=True)
        return _grey16_to_rgb(image) if image.mode[0] in "IF" else _to_rgb(image)


def read_metadata(source: FileName) -> dict[str, str]:
    """Reads the text chunks of a PNG, keyword to text; empty if there are none.

    Raises:
        ImageError: The file cannot be read or is not an intact PNG.
    """
    with _opened(source, DEFAULT_MAX_PIXELS, ("PNG",)) as image:
        return {str(key): str(text) for key, text in getattr(image, "text", {}).items()}


def write_image(
    destination: FileName, image: NDArray[Any], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes an image, whole or not at all; equal input gives equal bytes.

    Args:
        destination: A file name ending in .png, .jpg, .jpeg (quality 95, full colour
            resolution), .webp (lossless), .tif or .tiff; or `"-"`, PNG on standard output.
        image: Shape [height, width, 3], sRGB, nominally 0..255, any integer or float type;
            clipped and rounded to 8 bits here, once.
        metadata: Texts under keywords for a PNG to keep; other formats drop them.

    Raises:
        InvalidInputError: Unknown suffix, bad shape, non-finite pixels or bad metadata keyword.
        OutputError: The image could not be encoded or written.
    """
    kind = _format(destination)
    pixels = np.rint(_checked(image)).clip(0, 255).astype(np.uint8)
    texts = PngInfo()
    for key, text in (metadata or {}).items():
        if not 1 <= len(key) <= 79 or max(key) > "\xff" or "\0" in key + text:
            expected = "Expected 1 to 79 Latin-1 characters as metadata keyword, and no NUL."
            raise InvalidInputError(f"{expected} Received: {key!r}. Choose another keyword.")
        # A file name in the text may hold bytes that are not UTF-8, as lone surrogates.
        texts.add_itxt(key, text.encode("utf-8", "backslashreplace"))
    options = {"pnginfo": texts, "quality": 95, "subsampling": 0, "lossless": True}
    buffer = io.BytesIO()
    with failure_reported(
        OutputError, f"a picture that fits into {kind}", destination, "Try .png."
    ):
        Image.fromarray(pixels).save(buffer, kind, **options)  # each takes what it knows
    atomic_write(destination, buffer.getvalue())


def check_destination(destination: FileName) -> None:
    """Finds out before any long work whether :func:`write_image` could write there.

    Raises:
        InvalidInputError: Unknown suffix, a directory, or in no directory that can be written.
    """
    _format(destination)
    check_writable(destination)


def resize_image(image: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Resizes an image [height, width, 3] of nominally 0..255 with the Lanczos filter.

    Returns:
        float32 of the new size, clipped to 0..255; for the same size an unclipped copy.

    Raises:
        InvalidInputError: Bad shape, non-finite pixels, or a size that is not positive.
    """
    _check_positive(height=height, width=width)
    pixels = _checked(image).astype(np.float32)
    if pixels.shape[:2] == (height, width):
        return pixels
    channels = [  # one by one in Pillow's mode F, so that nothing is rounded to 8 bits
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS))
        for channel in np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    ]
    return np.stack(channels, axis=2, dtype=np.float32).clip(0, 255)


def fit_longest_side(height: int, width: int, longest_side: int) -> tuple[int, int]:
    """Scales (height, width) to a given longer side, up or down; the other is at least 1.

    Raises:
        InvalidInputError: A number is not a positive integer.
    """
    _check_positive(height=height, width=width, longest_side=longest_side)
    longest = max(height, width)  # whole numbers, so that the longer side comes out exactly
    scaled = [(2 * side * longest_side + longest) // (2 * longest) for side in (height, width)]
    return max(1, scaled[0]), max(1, scaled[1])


def central_square(image: NDArray[Any]) -> NDArray[Any]:
    """The largest square in the middle of an image [height, width, 3]."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _to_rgb(image: Image.Image) -> NDArray[np.float32]:
    """Converts a loaded image of 8-bit samples to float32 RGB, over white."""
    if not image.has_transparency_data:
        return np.array(_to_srgb(image, image.info), np.float32)
    # Grey stays grey, so that a grey profile still fits.
    full = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
    alpha = np.array(full.getchannel("A"), np.float32)[..., np.newaxis] / np.float32(255)
    rgb = np.array(_to_srgb(full.convert(full.mode.removesuffix("A")), image.info), np.float32)
    # Mixed in gamma-encoded sRGB, as viewers do it; written so that white stays exactly 255.
    return 255 + (rgb - 255) * alpha


def _to_srgb(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """Converts an opaque image to RGB, by its ICC profile (perceptually) if that fits."""
    image = image.convert("L") if image.mode == "1" else image
    with contextlib.suppress(ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(info["icc_profile"]))
        mode = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}[profile.profile.xcolor_space]
        # Grey, palette and YCbCr pixels may be meant as RGB; nothing else changes kind.
        if mode == image.mode or (mode == "RGB" and image.mode not in ("CMYK", "LAB")):
            # The optimised tables of LittleCMS can be wrong by 10 levels in dark grey.
            srgb, exact = ImageCms.createProfile("sRGB"), ImageCms.Flags.NOOPTIMIZE
            transform = ImageCms.buildTransform(profile, srgb, mode, "RGB", flags=exact)
            return transform.apply(image.convert(mode))
    # By a plain formula for CMYK, which Pillow takes as inverted in every JPEG, like browsers.
    return image.convert("RGB")


def _grey16_to_rgb(image: ImageFile.ImageFile) -> NDArray[np.float32]:
    """Scales a loaded 16-bit grey image to float32 RGB in 0..255; refuses other deep samples."""
    if not image.mode.startswith("I;16") and (image.mode, image.format) != ("I", "PPM"):
        raise ValueError("signed, 32-bit or float samples have no agreed white; convert to 16 bits")
    samples = np.asarray(image)
    # Pillow neither widens 12-bit TIFF samples nor inverts 16-bit ones stored white-is-zero.
    tags = getattr(image, "tag_v2", {})
    grey = samples * np.float32(255) / np.float32(4095 if tags.get(258) == (12,) else 65535)
    grey = 255 - grey if tags.get(262) == 0 else grey
    # ImageCms gives RGB in 8 bits only: interpolating in its grey ramp keeps the fraction.
    ramp = np.asarray(_to_srgb(Image.linear_gradient("L"), image.info))[:, 0]
    rgb = np.empty((*grey.shape, 3), np.float32)
    for channel in range(3):
        rgb[..., channel] = np.interp(grey, np.arange(256), ramp[:, channel])
    rgb[samples == image.info.get("transparency")] = 255
    return rgb


def _mend_transparency(image: ImageFile.ImageFile) -> None:
    """Corrects the transparent colour of a PNG where Pillow would match it wrongly."""
    key, raw_mode = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(key, str) or (key is not None and raw_mode == "RGB;16B"):
        # A text chunk of that name; or 16-bit colours, where Pillow would compare wrong bytes.
        del image.info["transparency"]
    elif isinstance(key, int) and raw_mode in ("L;2", "L;4"):  # it widens all samples but this one
        image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)


@contextlib.contextmanager
def _opened(source: Any, limit: int, formats: tuple[str, ...]) -> Iterator[ImageFile.ImageFile]:
    """Yields an image of permitted size, not yet decoded; any failure becomes an ImageError."""
    failure = failure_reported(
        ImageError, f"an intact {'/'.join(formats)} file", source, "Check the file."
    )
    with failure, warnings.catch_warnings(action="ignore"), contextlib.ExitStack() as stack:
        stream = sys.stdin.buffer if source == "-" else source
        if is_file := isinstance(stream, (str, os.PathLike)):
            stream = stack.enter_context(Path(source).open("rb"))
        if not is_file or not stream.seekable():  # Pillow seeks; the streams of others it must not
            stream = io.BytesIO(stream.read())
        if not stream.read(1):
            raise EOFError("it is empty")
        try:
            image = Image.open(stream, formats=formats)
        except UnidentifiedImageError:
            raise ValueError("in no known format") from None
        if not 0 < image.width * image.height <= limit:
            raise ValueError(f"{image.width}x{image.height} pixels; shrink to max_pixels={limit}")
        yield image


def _format(destination: FileName) -> str:
    """Returns the name of Pillow's writer for a destination."""
    with failure_reported(InvalidInputError, f"a suffix of {_SUFFIXES}", destination, "Change it."):
        suffix = ".png" if destination == "-" else Path(destination).suffix.lower()
        if suffix not in _SUFFIXES:
            raise ValueError(f"the suffix is {suffix!r}")
        return Image.registered_extensions()[suffix]


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    """Returns the pixels, finite real numbers of shape [height, width, 3]."""
    pixels = np.asarray(image)
    finite = pixels.dtype.kind in "uif" and bool(np.isfinite(pixels).all())
    if not finite or not pixels.size or pixels.shape[2:] != (3,):
        received = f"{pixels.dtype} {pixels.shape}, all numbers finite: {finite}"
        expected = "Expected an RGB image [height, width, 3] of finite numbers."
        raise ImageError(f"{expected} Received: {received}. Pass one such image.")
    return pixels


def _check_positive(**numbers: int) -> None:
    """Refuses anything but positive whole numbers."""
    for name, number in numbers.items():
        if not isinstance(number, (int, np.integer)) or number < 1:
            expected = f"Expected {name} to be a positive integer."
            raise InvalidInputError(f"{expected} Received: {number!r}. Pass 1 or more.")
