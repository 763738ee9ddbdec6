"""Photos, textures and paintings of a reproduction: those of scikit-image, or a user's."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.images import central_square, read_image, resize_image, write_image
from rwgen.optimize.checkpoint import fingerprint

Role = Literal["photo", "texture", "painting"]

FOLDERS: dict[Role, str] = {"photo": "photos", "texture": "textures", "painting": "paintings"}
"""Subfolder with a user's images of each role, used in order of their names."""

DEFAULTS: dict[Role, tuple[str, ...]] = {
    "photo": ("astronaut", "chelsea", "coffee", "rocket"),
    "texture": ("brick", "immunohistochemistry", "gravel", "grass", "hubble_deep_field"),
    "painting": ("hubble_deep_field", "immunohistochemistry", "colorwheel", "retina", "gravel"),
}
"""Names of functions of `skimage.data`. It has no paintings: colorful images replace them."""

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm")


@dataclass(frozen=True)
class Picture:
    """An input image of a part: a square of 8-bit pixels in a file.

    Attributes:
        role: what the image is used for.
        name: name of the original image.
        path: PNG file.
        side: side in pixels.
        sha256: hash of the pixels.
    """

    role: Role
    name: str
    path: Path
    side: int
    sha256: str

    def read(self) -> NDArray[np.float32]:
        """Return the pixels, [side, side, 3], RGB in 0..255."""
        return read_image(self.path)


class PictureSource:
    """Provides the pictures that a reproduction asks for."""

    def __init__(self, inputs: Path, images: Path | None = None) -> None:
        """Find the available images.

        Args:
            inputs: folder that the squares are written to.
            images: a user's folder with `photos`, `textures` or `paintings`, or None. Images of
                scikit-image replace the folders that it lacks.

        Raises:
            InvalidInputError: `images` has none of these folders, or one without images.
        """
        self._inputs = inputs
        self._files: dict[Role, list[Path]] = {}
        self._squares: dict[tuple[Role, int, int], tuple[Picture, NDArray[np.uint8]]] = {}
        if images is None:
            return
        for role, name in FOLDERS.items():
            folder = images / name
            if not folder.is_dir():
                continue
            try:
                entries = sorted(folder.iterdir())
            except OSError as error:
                raise InvalidInputError(
                    f"--images: expected a folder that can be read. Received: {str(folder)!r} "
                    f"({error.strerror})"
                ) from None
            self._files[role] = [x for x in entries if x.suffix.lower() in _SUFFIXES]
            if not self._files[role]:
                raise InvalidInputError(
                    f"--images: expected images in {str(folder)!r}. Received: none"
                )
        if not self._files:
            raise InvalidInputError(
                f"--images: expected a folder that holds {' or '.join(FOLDERS.values())}. "
                f"Received: {os.fspath(images)!r}"
            )

    def count(self, role: Role) -> int:
        """Return the number of images of a role."""
        return len(self._files.get(role, DEFAULTS[role]))

    def is_own(self, role: Role) -> bool:
        """Return whether the images of a role are the user's."""
        return role in self._files

    def get(self, role: Role, number: int, side: int) -> Picture:
        """Return a picture, whose file exists once it has been passed to `write`.

        Args:
            role: what the picture is used for.
            number: index of the image, from 0; indices beyond the last wrap around.
            side: side of the square in pixels.

        Raises:
            ImageError: the file cannot be read.
            InvalidInputError: scikit-image is missing.
        """
        key = (role, number % self.count(role), side)
        if key not in self._squares:
            self._squares[key] = self._square(*key)
        return self._squares[key][0]

    def write(self, pictures: Iterable[Picture]) -> None:
        """Write the files of pictures that `get` returned, unless they exist.

        Raises:
            OutputError: a file cannot be written.
        """
        wanted = {picture.path for picture in pictures}
        for picture, pixels in self._squares.values():
            path = picture.path
            if path not in wanted or (path.exists() and np.array_equal(read_image(path), pixels)):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, pixels)

    def _square(self, role: Role, number: int, side: int) -> tuple[Picture, NDArray[np.uint8]]:
        if role in self._files:
            file = self._files[role][number]
            name, pixels = file.stem, read_image(file)
        else:
            name = DEFAULTS[role][number]
            pixels = _shipped(name)
        square = resize_image(central_square(pixels), side, side)
        rounded = np.rint(square).clip(0, 255).astype(np.uint8)
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", name)
        path = self._inputs / f"{role}-{number + 1}-{plain}-{side}.png"
        return Picture(role, name, path, side, str(fingerprint(rounded))), rounded


def _shipped(name: str) -> NDArray[np.float32]:
    try:
        data: Any = importlib.import_module("skimage.data")
    except ImportError:
        raise InvalidInputError(
            "expected scikit-image, whose photos are used without --images. Received: no such "
            'package; pip install "rwgen[reproduce]"'
        ) from None
    pixels = np.asarray(getattr(data, name)(), np.float32)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    return pixels[..., :3]
