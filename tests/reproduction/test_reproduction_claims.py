"""Claims hold, do not hold, or cannot be told, depending on the numbers."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rwgen.reproduction.figures import (
    convergence,
    inversions,
    styles,
    textures,
    variation,
)
from rwgen.reproduction.figures.comparison import compare, quantiles
from rwgen.reproduction.setting import Setting
from rwgen.reproduction.store import PartResult


def results(numbers, history=None):
    """Results by name from numbers by name."""
    return {
        name: PartResult(name, Path(name), values, history or {}, 1.0, 0.1)
        for name, values in numbers.items()
    }


def outcomes(content):
    return [verdict.outcome for verdict in content.verdicts]


@pytest.fixture
def trained(setting, tmp_path):
    """The setting with trained weights: a file that is only hashed."""
    file = tmp_path / "vgg.h5"
    file.write_bytes(b"weights")
    return dataclasses.replace(setting, trained=str(file))


def quality(**values):
    numbers = {
        "distance": 10.0,
        "distance_of_plain": 60.0,
        "psnr": 25.0,
        "ssim": 0.9,
        "coarse_correlation": 0.9,
    }
    return {**numbers, **values}


def test_comparison_agrees_with_scipy_and_with_all_exchanges():
    generator = np.random.default_rng(3)
    first, second = generator.normal(0, 1, 6), generator.normal(1, 3, 6)
    found = compare(first, second)
    assert found.spread_p == pytest.approx(stats.levene(first, second, center="median").pvalue)
    assert found.location_p == pytest.approx(stats.wilcoxon(first, second).pvalue)
    one, other = first - np.median(first), second - np.median(second)

    def spread(signs):
        pairs = [(a, b) if keep else (b, a) for a, b, keep in zip(one, other, signs, strict=True)]
        x, y = np.abs(np.array(pairs)).mean(axis=0)
        return x - y

    seen = spread([True] * 6)
    everything = np.array([spread(s) for s in itertools.product([True, False], repeat=6)])
    below = np.mean(everything <= seen + 1e-12)
    above = np.mean(everything >= seen - 1e-12)
    assert found.paired_spread_p == pytest.approx(min(1, 2 * min(below, above)))
    expected = np.mean(np.abs(one)) / np.mean(np.abs(other))
    assert found.spread_ratio == pytest.approx(expected)
    assert found.median_difference == pytest.approx(np.median(first - second))


def test_equal_samples_do_not_differ():
    found = compare([1, 2, 3], [1, 2, 3])
    assert (found.spread_ratio, found.median_difference) == (1, 0)
    assert (found.spread_p, found.location_p) == (pytest.approx(1), 1)
    constant = compare([2, 2, 2], [2, 2, 2])
    assert (constant.spread_ratio, constant.spread_p, constant.paired_spread_p) == (None, 1, 1)


def test_quantiles_are_numpys():
    assert quantiles([1, 2, 3, 4, 5]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("spread", "shift", "expected"),
    [
        (0.1, -9, ["holds", "holds"]),
        (10, 9, ["does not hold", "does not hold"]),
        (1, 0, ["cannot be told", "cannot be told"]),
    ],
)
def test_variation_is_judged_in_either_direction(spread, shift, expected):
    base = np.linspace(-1, 1, 12)
    wiggle = 0.01 * (-1.0) ** np.arange(12)
    verdicts = variation.compare_verdicts(compare(spread * base + shift + wiggle, base))
    assert [verdict.outcome for verdict in verdicts] == expected
    assert "p = " in verdicts[0].measured


def test_figure_6_is_judged_by_its_seeds(tiny, setting):
    wide = dataclasses.replace(setting, scale=dataclasses.replace(tiny, seeds=12))
    numbers = {}
    for seed in range(12):
        numbers[f"plain-{seed}-pool1"] = quality(distance=20.0 + 5 * (-1) ** seed + seed / 10)
        numbers[f"stacked-{seed}-pool1"] = quality(distance=10.0 + seed / 100)
    content = variation.FIGURE_6.content(wide, results(numbers))
    assert outcomes(content) == ["holds", "holds", "cannot be told"]
    assert content.numbers["distances"]["stacked"]["pool1"][3] == 10.03
    swapped = {
        key.replace("plain", "x").replace("stacked", "plain").replace("x", "stacked"): value
        for key, value in numbers.items()
    }
    content = variation.FIGURE_6.content(wide, results(swapped))
    assert outcomes(content) == ["does not hold", "does not hold", "cannot be told"]


@pytest.mark.parametrize(("distance", "expected"), [(50.0, "holds"), (5.0, "does not hold")])
def test_figure_6_with_trained_weights(distance, expected, trained):
    numbers = {}
    for seed in range(3):
        numbers[f"plain-{seed}-pool1"] = quality(distance=10 + seed / 10)
        numbers[f"stacked-{seed}-pool1"] = quality(distance=9 + seed / 10)
        numbers[f"trained-{seed}-pool1"] = quality(distance=distance + 3 * seed)
    content = variation.FIGURE_6.content(trained, results(numbers))
    assert outcomes(content)[2] == expected


@pytest.mark.parametrize(("ssim", "expected"), [(0.6, "holds"), (0.4, "does not hold")])
def test_figure_2_asks_every_layer(ssim, expected, setting):
    numbers = {"conv1_1": quality(), "pool1": quality(ssim=ssim)}
    assert outcomes(inversions.FIGURE_2.content(setting, results(numbers))) == [expected]


@pytest.mark.parametrize(("rough", "expected"), [(0.6, "holds"), (None, "does not hold")])
def test_figure_2_asks_for_rough_contours_of_dense_layers(rough, expected, tiny, setting):
    dense = dataclasses.replace(tiny, dense_layers=("fc6",))
    numbers = {
        "conv1_1": quality(),
        "pool1": quality(),
        "fc6": quality(coarse_correlation=rough),
    }
    content = inversions.FIGURE_2.content(
        dataclasses.replace(setting, scale=dense), results(numbers)
    )
    assert outcomes(content)[1] == expected


@pytest.mark.parametrize(("gain", "expected"), [(1.0, "holds"), (-1.0, "does not hold")])
def test_figures_3_and_4_compare_with_trained_weights(gain, expected, trained):
    for photo, figure in ((1, inversions.FIGURE_3), (2, inversions.FIGURE_4)):
        numbers = {}
        for layer in ("pool1", "pool2"):
            numbers[f"photo_{photo}-{layer}-stacked"] = quality(psnr=20 + gain)
            correlation = 0.5 - gain / 10
            numbers[f"photo_{photo}-{layer}-trained"] = quality(
                psnr=20.0, coarse_correlation=correlation
            )
        content = figure.content(trained, results(numbers))
        assert set(outcomes(content)) == {expected}


def test_figures_3_and_4_leave_the_trained_network_open_without_weights(setting):
    numbers = {
        f"photo_2-{layer}-{name}": quality()
        for layer in ("pool1", "pool2")
        for name in ("stacked", "plain")
    }
    content = inversions.FIGURE_4.content(setting, results(numbers))
    assert outcomes(content) == ["cannot be told", "cannot be told"]
    assert "--trained" in content.verdicts[0].measured


@pytest.mark.parametrize(("distance", "expected"), [(59.0, "holds"), (61.0, "does not hold")])
def test_figure_7_compares_with_a_plain_image(distance, expected, setting):
    numbers = {"conv1_1": quality(), "pool1": quality(distance=distance)}
    for layer in ("pool1", "pool2"):
        numbers[f"photo_2-{layer}-stacked"] = quality()
    content = inversions.FIGURE_7.content(setting, results(numbers))
    assert outcomes(content) == [expected]
    assert content.numbers["mean_distance"] == {"pool1": (distance + 10) / 2}


@pytest.mark.parametrize(
    ("early", "last", "end", "expected"),
    [
        (10.5, 200, 30.0, ["holds", "holds"]),
        (12.0, 200, 11.0, ["does not hold", "does not hold"]),
        (10.5, 150, 30.0, ["cannot be told", "holds"]),
        (10.5, 50, 30.0, ["cannot be told", "cannot be told"]),
    ],
)
def test_figure_5_asks_for_the_first_hundred_iterations(early, last, end, expected, trained):
    iterations = list(range(last + 1))

    def history(final):
        distances = [60.0] + [early] * last
        distances[-1] = final
        return {"iteration": iterations, "loss": distances, "distance": distances}

    found = {}
    for photo in (1, 2):
        for name, final in (("stacked", 10.0), ("trained", end)):
            key = f"photo_{photo}-conv2_1-{name}"
            found |= results({key: quality()}, history(final))
    assert outcomes(convergence.FIGURE_5.content(trained, found)) == expected


@pytest.mark.parametrize(
    ("patches", "expected"),
    [
        ((4, 2, 1, 0.9), ["holds", "holds", "holds"]),
        ((4, 3, 2.5, 0.9), ["holds", "does not hold", "holds"]),
        ((1, 2, 3, 4), ["does not hold", "does not hold", "does not hold"]),
    ],
)
def test_figure_8_follows_the_layers(patches, expected, tiny, setting):
    layers = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    four = dataclasses.replace(setting, scale=dataclasses.replace(tiny, style_layers=layers))
    numbers = {
        f"texture_1-to_{layer}": dict.fromkeys(("spectrum", "covariances", "copies"), 1.0)
        | {"patches": value}
        for layer, value in zip(layers, patches, strict=True)
    }
    found = outcomes(textures.FIGURE_8.content(four, results(numbers)))
    assert found == [*expected, "cannot be told", "cannot be told"]


@pytest.mark.parametrize(
    ("other", "expected"), [(0.8, ["holds", "holds"]), (0.1, ["does not hold", "holds"])]
)
def test_figure_8_with_trained_weights(other, expected, trained):
    numbers = {
        f"texture_1-{row}": {"spectrum": 1.0, "covariances": 1.0, "copies": 0.0, "patches": value}
        for row, value in (("to_conv1_1", 4.0), ("to_conv2_1", 1.0), ("trained_to_conv2_1", other))
    }
    assert outcomes(textures.FIGURE_8.content(trained, results(numbers)))[-2:] == expected


def styled(share, correlation, patches=1.0):
    return {
        "covariances": share,
        "covariances_of_photo": 1.0,
        "patches": patches,
        "patches_of_photo": 1.0,
        "coarse_correlation": correlation,
        "coarse_correlation_of_painting": 0.1,
        "ssim": 0.5,
        "ssim_of_painting": 0.1,
    }


@pytest.mark.parametrize(
    ("share", "correlation", "expected"),
    [(0.2, 0.8, "holds"), (0.6, 0.8, "does not hold"), (0.2, 0.3, "does not hold")],
)
def test_figures_9_and_10_ask_for_style_and_scene(share, correlation, expected, setting: Setting):
    found = results({"pair_1-untrained": styled(share, correlation)})
    assert outcomes(styles.FIGURE_9.content(setting, found)) == [expected, "cannot be told"]
    assert outcomes(styles.FIGURE_10.content(setting, found)) == [expected]


@pytest.mark.parametrize(("patches", "expected"), [(2.0, "holds"), (20.0, "does not hold")])
def test_figure_9_with_trained_weights(patches, expected, trained):
    found = results(
        {"pair_1-untrained": styled(0.2, 0.8, patches), "pair_1-trained": styled(0.2, 0.8)}
    )
    assert outcomes(styles.FIGURE_9.content(trained, found))[1] == expected
