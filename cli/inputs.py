"""Input images of commands."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rwgen.cli.stderr import native_stderr_hidden
from rwgen.errors import InvalidInputError
from rwgen.images import BLENDED, read_image_and_alpha
from rwgen.phases import phase
from rwgen.provenance import InputImage, pixel_digest

IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".tif",
    ".tiff",
    ".gif",
    ".bmp",
    ".ppm",
    ".avif",
    ".heic",
    ".heif",
)
"""Suffixes of the images in a folder. Files given by name may have any suffix."""


def is_folder(place: str) -> bool:
    """Whether a folder has this name. No name (which `Path` takes for the current folder) has."""
    try:
        return bool(place) and Path(place).is_dir()
    except OSError:  # such as a name that is too long
        return False


def images_in(folder: Path) -> list[Path]:
    """Return the images in a folder and the folders inside it, sorted by path.

    Hidden files and folders are passed over: many are no images, such as `._photo.jpg` of macOS.

    Raises:
        InvalidInputError: There is none.
    """
    inside = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not inside:
        raise InvalidInputError(f"expected a folder of images. Received: {str(folder)!r}")
    return inside


def load_input(
    image: InputImage, notes: list[str] | None = None
) -> tuple[InputImage, NDArray[np.float32]]:
    """Read an input image.

    Args:
        image: The image. If it has a fingerprint, its pixels must match.
        notes: Receives a line for each part of the file that is left out, such as transparency.

    Returns:
        The image with its fingerprint, and its pixels [height, width, 3], RGB in 0..255.

    Raises:
        InvalidInputError: The image cannot be read or does not match the fingerprint.
    """
    return load_input_and_alpha(image, notes)[:2]


def load_input_and_alpha(
    image: InputImage, notes: list[str] | None = None, *, keeps_alpha: bool = False
) -> tuple[InputImage, NDArray[np.float32], NDArray[np.float32] | None]:
    """Read an input image and how opaque it is.

    Args:
        image: See `load_input`.
        notes: See `load_input`.
        keeps_alpha: Whether the alpha channel is used, so that no note is needed.

    Returns:
        What `load_input` returns, and the alpha channel [height, width] in 0..255, or None if the
        image is opaque.

    Raises:
        InvalidInputError: See `load_input`.
    """
    if image.origin and image.path != "-" and not Path(image.path).exists():
        raise InvalidInputError(
            f"expected the {image.role} image that {image.origin} names. Received: no file "
            f"{image.path}; give the images on the command line"
        )
    left_out: list[str] = []
    with phase("read images"), native_stderr_hidden():  # libtiff
        pixels, alpha = read_image_and_alpha(image.path, report=left_out.append)
    if alpha is not None and not keeps_alpha:
        left_out.append(BLENDED)
    received = pixel_digest(pixels)
    if image.sha256 not in (None, received):
        raise InvalidInputError(
            f"expected the {image.role} image that {image.origin} was made from. Received: "
            f"{image.path}, which has other pixels; give the images on the command line to use it "
            "anyway"
        )
    if notes is not None:
        if image.origin:
            notes.append(f"{image.role} image: {image.path}, named by {image.origin}")
        notes += [f"{image.path}: {phrase}" for phrase in left_out]
    return InputImage(image.role, image.path, received), pixels, alpha


def size_notes(path: str, before: Sequence[int], after: Sequence[int]) -> list[str]:
    """Return a line that says that an image is enlarged; none if it is not.

    Args:
        path: Path of the image.
        before: Height and width of the image. Further values are ignored.
        after: Height and width that it is resized to.
    """
    if after[0] <= before[0] and after[1] <= before[1]:
        return []
    sizes = f"{before[1]}x{before[0]} to {after[1]}x{after[0]}"
    return [f"{path}: enlarged from {sizes} pixels, which adds no detail"]


def print_notes(notes: Iterable[str], quiet: bool) -> None:
    """Print lines on standard error, unless `quiet` or the caller closed it."""
    if not quiet and sys.stderr is not None:
        for line in notes:
            print(f"rwgen: note: {line}", file=sys.stderr)
