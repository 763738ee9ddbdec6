"""Input images of commands."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from rwgen.cli.provenance import InputImage
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.errors import InvalidInputError
from rwgen.images import read_image


def load_input(image: InputImage) -> tuple[InputImage, NDArray[np.float32]]:
    """Read an input image.

    Args:
        image: The image. If it has a fingerprint, its pixels must match.

    Returns:
        The image with its fingerprint, and its pixels [height, width, 3], RGB in 0..255.

    Raises:
        InvalidInputError: The image cannot be read or does not match the fingerprint.
    """
    with native_stderr_hidden():  # libtiff
        pixels = read_image(image.path)
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.astype("<f4").tobytes())
    received = digest.hexdigest()
    if image.sha256 not in (None, received):
        raise InvalidInputError(
            f"expected the {image.role} image recorded in the --from file. Received: "
            f"{image.path}, which has other pixels; give the images on the command line to use it "
            "anyway"
        )
    return InputImage(image.role, image.path, received), pixels
