"""Reproducible random numbers: every draw is a pure function of a seed and a stream name.

The draws are bit-identical on every machine. NumPy guarantees a stable stream for the *bits* of
its Philox generator but not for its distributions, and TensorFlow's normals differ between
devices in the last place. Therefore the bits are converted to normals here, by a quantile
function whose result is rounded to a grid far coarser than any difference between mathematical
libraries (`QUANTILE_GRID`). A test shows that no possible value lies near a rounding boundary.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rwgen.checks import check_count

MAX_SEED = 2**63 - 1
"""Largest accepted seed."""

UNIFORM_BITS = 24
"""Random bits per draw. Normals then lie within +-5.4 standard deviations."""

QUANTILE_GRID = 2.0**-16
"""Spacing of the possible standard normals. All of them are exact in float32."""

_CHUNK = 1 << 20  # draws converted at a time: limits each float64 temporary to 8 MiB


def standard_normal(seed: int, stream: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Draw independent standard normals.

    Each value depends only on `seed`, `stream` and its position in C order: not on the device,
    the number of threads, or earlier draws.

    Args:
        seed: Integer from 0 to `MAX_SEED`.
        stream: Name of the purpose of the draws, such as `weights/conv1_1/kernel/0`. Different
            streams are independent of each other.
        shape: Shape of the result.

    Returns:
        Array of `shape`, float32. Values are multiples of `QUANTILE_GRID`.

    Raises:
        InvalidInputError: The seed is out of range.
    """
    from scipy.special import ndtri  # slow to import, and not needed for `rwgen --help`

    check_seed(seed)
    digest = hashlib.sha256(f"rwgen/{seed}/{stream}".encode()).digest()
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    size = math.prod(shape)
    draws = np.empty(size, np.float32)
    for start in range(0, size, _CHUNK):
        count = min(_CHUNK, size - start)
        # Two 32-bit halves of each word, low half first whatever the machine's byte order.
        words = generator.random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
        uniform = ((words >> (32 - UNIFORM_BITS)) + 0.5) * 2.0**-UNIFORM_BITS
        draws[start : start + count] = np.rint(ndtri(uniform) / QUANTILE_GRID) * QUANTILE_GRID
    return draws.reshape(tuple(shape))


def check_seed(seed: int) -> None:
    """Check that a seed is an integer from 0 to `MAX_SEED`.

    Raises:
        InvalidInputError: It is not.
    """
    check_count("seed", seed, 0, MAX_SEED)
