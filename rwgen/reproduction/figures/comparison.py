"""Statistical comparison of two samples that share their seeds: spread and location."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

QUANTILES = (0, 25, 50, 75, 100)
"""Percentiles of a box plot: minimum, quartiles and maximum."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of two samples of the same seeds.

    Attributes:
        spread_ratio: mean absolute deviation from the median of the first sample, divided by that
            of the second; None if the second does not vary.
        spread_p: two-sided p-value of the Brown-Forsythe test of equal spread.
        paired_spread_p: two-sided p-value of a permutation test of equal spread that exchanges the
            two values of a seed, after each sample is centered at its median.
        median_difference: median over seeds of the first value minus the second.
        location_p: two-sided p-value of the Wilcoxon signed-rank test.
    """

    spread_ratio: float | None
    spread_p: float
    paired_spread_p: float
    median_difference: float
    location_p: float


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two samples, seed by seed.

    Args:
        first: one value per seed.
        second: values of the same seeds.

    Returns:
        The comparison; its p-values are 1 for equal samples.
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    centred = [x - np.median(x) for x in (one, other)]
    spreads = [float(np.mean(np.abs(x))) for x in centred]
    difference = one - other
    same_spread = not any(spreads)
    return Comparison(
        spread_ratio=spreads[0] / spreads[1] if spreads[1] else None,
        spread_p=1.0 if same_spread else float(stats.levene(one, other, center="median").pvalue),
        paired_spread_p=1.0 if same_spread else _paired_p(*centred),
        median_difference=float(np.median(difference)),
        location_p=float(stats.wilcoxon(difference).pvalue) if np.any(difference) else 1.0,
    )


def quantiles(values: Sequence[float]) -> list[float]:
    """Return minimum, quartiles and maximum."""
    return [float(value) for value in np.percentile(values, QUANTILES)]


def _paired_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    def statistic(x: NDArray[np.float64], y: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        spread: NDArray[np.float64] = np.mean(np.abs(x), axis) - np.mean(np.abs(y), axis)
        return spread

    # Exact up to 13 seeds; a fixed number of random exchanges beyond.
    found = stats.permutation_test(
        (first, second),
        statistic,
        permutation_type="samples",
        n_resamples=9999,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
