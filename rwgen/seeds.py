"""Every random number of rwgen: a pure function of a seed and a name.

The draws are bit-identical on every machine. NumPy promises a stable stream for the *bits* of
its Philox generator but not for its distributions, and TensorFlow's normals differ between
devices in the last place. So the bits are turned into normals here, by a quantile function whose
result is rounded to a grid far coarser than any difference between mathematical libraries
(`QUANTILE_GRID`); a test shows that none of the possible values lies near a rounding boundary.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError

MAX_SEED = 2**63 - 1
"""Largest accepted seed."""

UNIFORM_BITS = 24
"""Random bits for one draw; a normal then lies within +-5.4 standard deviations."""

QUANTILE_GRID = 2.0**-16
"""Spacing of the standard normals that can be drawn; all of them are exact in float32."""

_CHUNK = 1 << 20  # draws turned into normals at a time: bounds the float64 temporaries to 8 MiB


def standard_normal(seed: int, stream: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Independent standard normal draws.

    The values depend on `seed`, `stream` and the position in C order alone: not on the device,
    the number of threads, or what was drawn before.

    Args:
        seed: from 0 to `MAX_SEED`.
        stream: names the use of the draws, such as `weights/conv1_1/kernel/0`. Two streams are
            independent of each other.
        shape: shape of the result.

    Returns:
        Array of `shape`, float32, multiples of `QUANTILE_GRID`.

    Raises:
        InvalidInputError: the seed is out of range.
    """
    from scipy.special import ndtri  # slow to import, and `rwgen --help` draws nothing

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
    """Refuse a seed that is not an integer from 0 to `MAX_SEED`.

    Raises:
        InvalidInputError: as said.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise InvalidInputError(f"expected a seed from 0 to {MAX_SEED}. Received: {seed!r}")
