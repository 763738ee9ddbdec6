"""Read, write and resize images as sRGB arrays [height, width, 3] in 0..255, with Pillow."""

from __future__ import annotations

import contextlib
import io
import math
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
from PIL.PngImagePlugin import PngInfo, putchunk

from rwgen.checks import check_count
from rwgen.errors import ImageError, InvalidInputError, OutputError
from rwgen.files import FileName, atomic_write, check_writable, failure_reported, shown

ImageLike: TypeAlias = "ArrayLike | FileName | Image.Image"
"""An image as an array, a tensor, nested lists, a file name or an image of Pillow, see
`as_pixels`."""

DEFAULT_MAX_PIXELS: int = 100_000_000
"""Largest number of pixels read by default, 1.2 GB as float32. A forged header may claim more."""

BLENDED = "transparent pixels are blended with white"
"""What `read_image` reports of a transparent image."""

# Pillow's other decoders are never used, whatever a file claims to be. JPEG's reads MPO too.
_READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
_LANCZOS_PIXELS = 3  # pixels on each side, of the smaller of the two images, that the filter sees
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
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
        source: PNG, JPEG (also MPO), WebP, TIFF, GIF, BMP, PPM, AVIF where the installed Pillow
            reads it, or HEIC with the extra `heif`: a file name, `"-"` for standard input, or a
            binary stream, which is read to its end.
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
    pixels, alpha = read_image_and_alpha(source, max_pixels=max_pixels, report=report)
    if alpha is not None and report is not None:
        report(BLENDED)
    return pixels


def read_image_and_alpha(
    source: FileName | BinaryIO,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    report: Callable[[str], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Read an image as `read_image` does, and how opaque its pixels are.

    Args:
        source: See `read_image`.
        max_pixels: See `read_image`.
        report: See `read_image`; not called for transparency.

    Returns:
        The array that `read_image` returns, blended with white, and its alpha channel
        [height, width], float32 in 0..255, or None if all pixels are opaque.

    Raises:
        ImageError: See `read_image`.
        InvalidInputError: See `read_image`.
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
        pixels = _pixels_of(image)  # turns the image upright
        return pixels, _alpha_of(image)


def image_size(source: FileName) -> tuple[int, int]:
    """Return (height, width) of an image file as stored, without decoding it.

    Raises:
        ImageError: The file is not an image that `read_image` reads.
    """
    with _open_image(source, DEFAULT_MAX_PIXELS, _readable()) as image:
        return image.height, image.width


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
    destination: FileName,
    image: NDArray[Any],
    *,
    metadata: Mapping[str, str] | None = None,
    alpha: NDArray[Any] | None = None,
    bits: int = 8,
) -> None:
    """Write an image file atomically. Equal input gives equal bytes.

    Args:
        destination: File name ending in .png, .jpg, .jpeg (quality 95, full color
            resolution), .webp (lossless), .tif or .tiff; or `"-"` for PNG on standard output.
        image: Array [height, width, 3] of integers or floats, sRGB, nominally in 0..255. Values
            are rounded to `bits` bits and clipped.
        metadata: Texts by keyword, stored in a PNG. Other formats ignore them.
        alpha: Array [height, width] in 0..255: how opaque each pixel is. A JPEG stores none, and
            gets the image blended with white.
        bits: Bits of each sample, 8 or, in PNG and TIFF, 16.

    Raises:
        InvalidInputError: Unknown suffix, bad shape, non-finite pixels, bad metadata keyword, or
            more bits than the format has.
        OutputError: The image could not be encoded or written.
    """
    encoded = encode_image(image, destination, metadata=metadata, alpha=alpha, bits=bits)
    atomic_write(destination, encoded)


def encode_image(
    image: NDArray[Any],
    destination: FileName = "-",
    *,
    metadata: Mapping[str, str] | None = None,
    alpha: NDArray[Any] | None = None,
    bits: int = 8,
) -> bytes:
    """Return what `write_image` would write.

    Args:
        image: See `write_image`.
        destination: File name whose suffix decides the format; `"-"` stands for a PNG.
        metadata: See `write_image`.
        alpha: See `write_image`.
        bits: See `write_image`.

    Raises:
        InvalidInputError: See `write_image`.
        OutputError: The image could not be encoded.
    """
    kind = _writer_of(destination)
    _check_bits(destination, bits)
    pixels = _validated(image)
    if alpha is not None:
        opacity = _validated(np.repeat(np.asarray(alpha)[..., np.newaxis], 3, axis=-1))[..., :1]
        if opacity.shape[:2] != pixels.shape[:2]:
            raise ImageError(
                f"Expected an alpha channel of shape {pixels.shape[:2]}. Received: "
                f"{opacity.shape[:2]}"
            )
        if kind == "JPEG":
            pixels = 255 + (pixels - 255.0) * (opacity / 255.0)
        else:
            pixels = np.concatenate([pixels, opacity], axis=2)
    samples = np.rint(pixels if bits == 8 else np.multiply(pixels, 257, dtype=np.float64))
    samples = samples.clip(0, 2**bits - 1).astype(f"uint{bits}")
    texts = PngInfo()
    for key, text in (metadata or {}).items():
        if not 1 <= len(key) <= 79 or max(key) > "\xff" or "\0" in key + text:
            expected = "Expected a metadata keyword of 1 to 79 Latin-1 characters, and no NUL."
            raise InvalidInputError(f"{expected} Received: {key!r}. Choose another keyword.")
        # A file name in the text may hold bytes that are not UTF-8, as lone surrogates.
        texts.add_itxt(key, text.encode("utf-8", "backslashreplace"))
    buffer = io.BytesIO()
    with failure_reported(OutputError, f"an image that {kind} can store", destination, "Try .png."):
        if bits == 16:
            _encode_16_bits(buffer, samples, kind, texts)
        else:
            # Writers ignore each other's options. `exact` keeps the colors of transparent pixels.
            options = {"pnginfo": texts, "quality": 95, "subsampling": 0, "lossless": True}
            Image.fromarray(samples).save(buffer, kind, exact=True, **options)
    return buffer.getvalue()


def _encode_16_bits(
    buffer: BinaryIO, samples: NDArray[np.uint16], kind: str, texts: PngInfo
) -> None:
    """Write samples [height, width, 3 or 4] as PNG or TIFF; Pillow has no color of 16 bits."""
    if kind == "TIFF":
        import tifffile

        extra = ["unassalpha"] if samples.shape[2] == 4 else None
        tifffile.imwrite(
            buffer,
            samples,
            photometric="rgb",
            extrasamples=extra,
            byteorder="<",
            metadata=None,
            software=False,
        )
        return
    import tensorflow as tf  # whatever made the image has imported it

    encoded = tf.io.encode_png(samples).numpy()
    header = 8 + 25  # signature and IHDR, which comes first
    buffer.write(encoded[:header])
    for chunk in texts.chunks:
        putchunk(buffer, *chunk[:2])
    buffer.write(encoded[header:])


def stores_alpha(destination: FileName) -> bool:
    """Return whether `write_image` stores transparency at a destination.

    Raises:
        InvalidInputError: The suffix is unknown.
    """
    return _writer_of(destination) != "JPEG"


def check_destination(destination: FileName, bits: int = 8) -> None:
    """Check, before any long work, that `write_image` can write to a destination.

    Args:
        destination: Where to write.
        bits: Bits of each sample.

    Raises:
        InvalidInputError: The suffix is unknown, the format has fewer bits, the destination is a
            directory, or its directory is missing or not writable.
    """
    _check_bits(destination, bits)
    check_writable(destination)


def resize_image(
    image: NDArray[Any], height: int, width: int, *, tileable: bool = False
) -> NDArray[np.float32]:
    """Resize an image with the Lanczos filter.

    Args:
        image: Array [height, width, 3], nominally in 0..255.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        tileable: Whether pixels beyond a border are those of the opposite one, so that an image
            that tiles still does; otherwise the filter ends at the border.

    Returns:
        float32 array of the new size, clipped to 0..255; an unclipped copy if the size is the same.

    Raises:
        InvalidInputError: Bad shape, non-finite pixels, or a size that is not positive.
    """
    _check_positive(height=height, width=width)
    pixels = _validated(image).astype(np.float32)
    if pixels.shape[:2] == (height, width):
        return pixels
    top, left = (
        math.ceil(_LANCZOS_PIXELS * max(1, before / after)) if tileable else 0
        for before, after in zip(pixels.shape[:2], (height, width), strict=True)
    )
    box = (left, top, left + pixels.shape[1], top + pixels.shape[0])
    # What is outside the box is seen by the filter, but not resized.
    padded = np.pad(pixels, ((top, top), (left, left), (0, 0)), "wrap")
    channels = [  # separately in Pillow's mode F, so that nothing is rounded to 8 bits
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS, box))
        for channel in np.ascontiguousarray(np.moveaxis(padded, 2, 0))
    ]
    return np.stack(channels, axis=2, dtype=np.float32).clip(0, 255)


def resize_plane(plane: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Resize numbers, such as transparency or a mask, without overshoot.

    Args:
        plane: Array [height, width] of finite numbers.
        height: Height of the result in pixels.
        width: Width of the result in pixels.

    Returns:
        float32 array of the new size: averages where it is smaller, interpolated linearly where it
        is larger; an equal copy if the size is the same.

    Raises:
        InvalidInputError: A size is not positive.
    """
    _check_positive(height=height, width=width)
    values = np.array(plane, np.float32)
    smaller = height <= values.shape[0] and width <= values.shape[1]
    kind = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(values).resize((width, height), kind))


def unblended(image: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.float32]:
    """Return the colors of an image that is blended with white, as `read_image` returns it.

    A pixel of color c and opacity a is read as white + a (c - white). Blended again with what is
    behind it, it would be too light.

    Args:
        image: Array [height, width, 3], RGB in 0..255.
        alpha: Array [height, width] in 0..255, as `read_image_and_alpha` returns it, and resized
            with the same filter if it was.

    Returns:
        float32 array [height, width, 3] in 0..255. Pixels that are almost invisible stay light.
    """
    opacity = np.asarray(alpha, np.float32)[..., np.newaxis] / 255
    darkness = 255 - np.asarray(image, np.float32)
    colors: NDArray[np.float32] = (255 - darkness / np.maximum(opacity, 1 / 16)).clip(0, 255)
    return colors


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
    return central_part(image, 1, 1)


def central_part(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return the largest centered part of an image [height, width, 3] of some proportions.

    Args:
        image: The image.
        height: Height of the proportions, in any unit.
        width: Width of the proportions, in the same unit.
    """
    rows, columns = image.shape[:2]
    part = min(rows, round(columns * height / width)), min(columns, round(rows * width / height))
    kept = [max(1, side) for side in part]
    top, left = (rows - kept[0]) // 2, (columns - kept[1]) // 2
    return image[top : top + kept[0], left : left + kept[1]]


def _pixels_of(image: Image.Image) -> NDArray[np.float32]:
    """Convert a loaded image to upright, opaque float32 RGB; the image may be changed."""
    with contextlib.suppress(Exception):  # damaged EXIF data may raise anything; it is ignored
        ImageOps.exif_transpose(image, in_place=True)
    return _grey16_to_rgb(image) if image.mode[0] in "IF" else _to_rgb(image)


def _left_out(image: ImageFile.ImageFile) -> Iterator[str]:
    """Say what an array of pixels does not hold of a loaded image, besides transparency."""
    # The further pictures of an MPO are not frames but previews and depth maps.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        yield "only the first of several frames is used"


def _alpha_of(image: Image.Image) -> NDArray[np.float32] | None:
    """Return the alpha channel of a loaded image in 0..255, or None if it is opaque."""
    if not image.has_transparency_data:
        return None
    if image.mode[0] in "IF":  # of which Pillow would make an opaque image
        alpha = np.where(np.asarray(image) == image.info.get("transparency"), 0, 255)
    else:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else alpha.astype(np.float32)


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
    return (*_READABLE, *(["AVIF"] if has_avif else []), *(["HEIF"] if _has_heif() else []))


def _has_heif() -> bool:
    """Whether pillow-heif is installed; it is then registered with Pillow."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _unreadable(start: bytes) -> str:
    """Say why Pillow does not know a file, from its first 12 bytes."""
    if start[4:8] == b"ftyp":  # ISO/IEC 14496-12; the brand follows
        if start[8:12] in _HEIF_BRANDS and not _has_heif():
            return 'it is HEIC, which needs pip install "rwgen[heif]"'
        if start[8:12] in (b"avif", b"avis"):
            return "it is AVIF, which this Pillow does not read or which is damaged"
    return "it is in another format, or damaged"


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
            stream.seek(0)
            raise ValueError(_unreadable(stream.read(12))) from None
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


def _check_bits(destination: FileName, bits: int) -> None:
    kinds = {8: ("PNG", "JPEG", "WEBP", "TIFF"), 16: ("PNG", "TIFF")}
    if _writer_of(destination) not in kinds.get(bits, ()):
        raise InvalidInputError(
            f"bits: expected 8, or 16 in a file ending in .png or .tif. Received: {bits} for "
            f"{shown(destination)}"
        )


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
