"""White noise as an image: the start of a search, and a baseline for results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rwgen.network.preprocess import PIXEL_RANGE
from rwgen.seeds import standard_normal

NOISE_STDDEV = 0.1
"""Standard deviation of the noise that a search starts from, as a share of the range from black to
white; its mean is mid gray (docs/math.md)."""


def white_noise(seed: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """White noise of `shape`: RGB in 0..255, not clipped, mean 127.5, standard deviation 25.5."""
    noise = standard_normal(seed, "noise", shape) * np.float32(NOISE_STDDEV)
    return (noise + np.float32(0.5)) * np.float32(PIXEL_RANGE)
