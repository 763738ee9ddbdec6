"""An image that a result is held to, such as the last frame of a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.checks import check_number
from rwgen.errors import InvalidInputError
from rwgen.images import resize_image, resize_plane
from rwgen.network.preprocess import network_input
from rwgen.synthesis.margins import add_margin


@dataclass(frozen=True)
class Hold:
    """How much each pixel of a result is held to those of an image.

    Attributes:
        image: [height, width, 3], RGB in 0..255, of the result's size.
        shares: [height, width] in 0..1, how much of each pixel is to stay.
        weight: of the term, see `rwgen.synthesis.losses.temporal_loss`.

    Raises:
        InvalidInputError: image and shares have other sizes, a share is not in 0..1, or the weight
            is not a number from 0.
    """

    image: NDArray[Any]
    shares: NDArray[Any]
    weight: float

    def __post_init__(self) -> None:
        check_number("weight", self.weight)
        object.__setattr__(self, "image", np.asarray(self.image))
        object.__setattr__(self, "shares", np.asarray(self.shares))
        if self.image.shape != (*self.shares.shape, 3):
            raise InvalidInputError(
                f"expected shares of the image's size, {self.image.shape[:2]}. "
                f"Received: {self.shares.shape}"
            )
        if not (
            np.isfinite(self.shares).all() and 0 <= self.shares.min() <= self.shares.max() <= 1
        ):
            raise InvalidInputError("expected shares in 0..1. Received: others")

    def mixed(self, other: NDArray[Any]) -> NDArray[Any]:
        """The image by its shares, and another one by the rest."""
        share = self.shares[..., np.newaxis]
        mixture: NDArray[Any] = share * self.image + (1 - share) * other
        return mixture

    def with_margin(self, margin: int) -> Hold:
        """The same for a search that goes beyond the borders."""
        image, shares = (add_margin(plane, margin) for plane in (self.image, self.shares))
        return Hold(image, shares, self.weight)

    def values(self, size: Sequence[int], dtype: np.dtype[Any]) -> dict[str, tf.Tensor]:
        """Arguments of `temporal_loss` for network input of (height, width)."""
        image, shares = self.image, self.shares
        if shares.shape != tuple(size):
            image, shares = resize_image(image, *size), resize_plane(shares, *size)
        return {
            "target": tf.constant(network_input(image, dtype.name)),
            "weights": tf.constant(self.weight * shares[..., np.newaxis], dtype),
        }
