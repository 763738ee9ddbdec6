"""The photos, textures and paintings of a reproduction: scikit-image's own, or a user's."""

from __future__ import annotations

import importlib
import os
import re
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
"""Where a user's images of each role lie, in order of their names."""

DEFAULTS: dict[Role, tuple[str, ...]] = {
    "photo": ("astronaut", "chelsea", "coffee", "rocket"),
    "texture": ("brick", "immunohistochemistry", "gravel", "grass", "hubble_deep_field"),
    "painting": ("hubble_deep_field", "immunohistochemistry", "colorwheel", "retina", "gravel"),
}
"""Images that come with scikit-image, by the names of their functions. There are no paintings among
them: colourful images stand in."""

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm")


@dataclass(frozen=True)
class Picture:
    """An image as the parts of a reproduction see it: a square of 8-bit pixels, in a file.

    Attributes:
        role: what it is for.
        name: of the image it was made from.
        path: the PNG.
        side: pixels a side.
        sha256: fingerprint of its pixels.
    """

    role: Role
    name: str
    path: Path
    side: int
    sha256: str

    def read(self) -> NDArray[np.float32]:
        """Its pixels, [side, side, 3], RGB in 0..255."""
        return read_image(self.path)


class PictureSource:
    """Makes the pictures that a reproduction asks for."""

    def __init__(self, inputs: Path, images: Path | None = None, *, write: bool = True) -> None:
        """Find out which images there are.

        Args:
            inputs: folder that the squares are written to, made when the first one is.
            images: a user's folder with `photos`, `textures` or `paintings`, None for none. Roles
                that it does not have are played by scikit-image's.
            write: False makes pictures without their files, for estimates.

        Raises:
            InvalidInputError: `images` holds none of these folders, or one without images.
        """
        self._inputs, self._write = inputs, write
        self._files: dict[Role, list[Path]] = {}
        self._made: dict[tuple[Role, int, int], Picture] = {}
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
        """How many images play a role."""
        return len(self._files.get(role, DEFAULTS[role]))

    def is_own(self, role: Role) -> bool:
        """Whether the user gave the images of a role."""
        return role in self._files

    def get(self, role: Role, number: int, side: int) -> Picture:
        """The picture of a number from 0; after the last comes the first again.

        Raises:
            ImageError: the file cannot be read.
            InvalidInputError: scikit-image is missing.
            OutputError: the square cannot be written.
        """
        number %= self.count(role)
        key = (role, number, side)
        if key not in self._made:
            self._made[key] = self._make(*key)
        return self._made[key]

    def _make(self, role: Role, number: int, side: int) -> Picture:
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
        if self._write and not (path.exists() and np.array_equal(read_image(path), rounded)):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, rounded)
        return Picture(role, name, path, side, str(fingerprint(rounded)))


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
