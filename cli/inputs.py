"""The images that a command reads."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from rwgen.cli.provenance import InputImage
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.errors import InvalidInputError
from rwgen.images import read_image


def load_input(image: InputImage) -> tuple[InputImage, NDArray[np.float32]]:
    """Read an input image; also the input with its fingerprint.

    Raises:
        InvalidInputError: it cannot be read, or is not the one that it must be.
    """
    with native_stderr_hidden():  # libtiff
        pixels = read_image(image.path)
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.astype("<f4").tobytes())
    received = digest.hexdigest()
    if image.sha256 not in (None, received):
        raise InvalidInputError(
            f"expected the {image.role} image that --from names. Received: {image.path}, which "
            "has other pixels; name the images on the command line to use it all the same"
        )
    return InputImage(image.role, image.path, received), pixels
