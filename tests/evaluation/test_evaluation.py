"""Rows of the table: what is compared with what, and how baselines are ordered."""

from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from rwgen import InvalidInputError, LayerError, metrics
from rwgen.evaluation.config import EvaluationConfig
from rwgen.evaluation.table import StyleScores, TextureScores, evaluate_style, evaluate_texture
from rwgen.images import read_image, resize_image
from rwgen.metrics.config import MINIMUM_SIDE
from rwgen.metrics.held_out import HeldOutNetworks

EXAMPLES = Path(__file__).parents[2] / "examples"
FAST = EvaluationConfig(
    held_out_seeds=(5,),
    texture_layers=("conv1_1", "conv2_1"),
    style_layers=("conv1_1",),
    content_layers=("conv1_2",),
)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)


def example(name, side, top=0):
    return resize_image(read_image(EXAMPLES / f"{name}.jpg")[top : top + 256, :256], side, side)


def test_a_texture_is_judged_by_its_source():
    result, source = noise(40, 60), noise(48, 36, seed=1)
    row = next(evaluate_texture({"mine": result}, source, config=FAST))
    assert (row.name, row.is_baseline) == ("mine", False)
    networks = HeldOutNetworks(FAST.texture_layers, FAST.held_out_seeds)
    assert row.scores == TextureScores(
        gram=networks.gram_distance(result, source),
        variances=metrics.patch_variance_distance(result, source),
        patches=metrics.sliced_wasserstein(result, source),
        spectrum=metrics.power_spectrum_distance(result, source),
        copies=metrics.copy_rate(result, source),
    )
    numbers = row.scores.numbers()
    assert list(numbers) == ["gram", "variances", "patches", "spectrum", "copies"]
    assert numbers["variances"] == pytest.approx(mean(row.scores.variances))
    assert numbers["patches"] == pytest.approx(mean(row.scores.patches))


def test_a_style_is_judged_by_content_and_styles():
    result, content = noise(40, 48), noise(40, 48, seed=1)
    styles = [noise(36, 50, seed=2), noise(50, 50, seed=3)]
    row = next(evaluate_style({"mine": result}, content, styles, config=FAST))
    style_networks = HeldOutNetworks(FAST.style_layers, FAST.held_out_seeds)
    content_networks = HeldOutNetworks(FAST.content_layers, FAST.held_out_seeds)
    assert row.scores == StyleScores(
        style=tuple(style_networks.gram_distance(result, style) for style in styles),
        variances=tuple(metrics.patch_variance_distance(result, style) for style in styles),
        content=content_networks.content_distance(result, content),
        patches=tuple(metrics.sliced_wasserstein(result, style) for style in styles),
        ssim=metrics.ssim(result, content),
    )
    numbers = row.scores.numbers()
    columns = ["style 1", "style 2", "variances 1", "variances 2", "content"]
    assert list(numbers) == [*columns, "patches 1", "patches 2", "ssim"]
    assert numbers["variances 1"] == pytest.approx(mean(row.scores.variances[0]))
    assert numbers["patches 2"] == pytest.approx(mean(row.scores.patches[1]))


def test_baselines_of_a_texture_lie_where_they_must():
    source, other = example("brick", 96), example("brick", 96, top=256)
    rows = list(evaluate_texture({}, source, held_out=other, config=FAST))
    assert all(row.is_baseline for row in rows)
    found = {row.name: row.scores.numbers() for row in rows}
    order = ("white noise", "shuffled pixels", "shuffled patches", "another crop")
    for metric in ("gram", "variances", "patches"):
        values = [found[name][metric] for name in order]
        assert values[0] > values[1] > max(values[2:]), metric
    copies = [found[name]["copies"] for name in order]
    assert found["crop of the source"]["copies"] == 1
    assert max(copies[0], copies[1], copies[3]) < 0.1 < copies[2] < 1


def test_baselines_of_a_style_lie_where_they_must():
    content, style = example("astronaut", 96), example("coffee", 96)
    rows = list(evaluate_style({}, content, [style], config=FAST))
    found = {row.name: row.scores.numbers() for row in rows}
    assert (found["content"]["content"], found["content"]["ssim"]) == (0, pytest.approx(1))
    assert found["style"]["style"] == found["style"]["patches"] == 0
    assert found["white noise"]["ssim"] < 0.1
    order = ("style", "content in its colours", "content")
    for metric, ascending in (("patches", True), ("style", True), ("content", False)):
        values = [found[name][metric] for name in order]
        assert values == sorted(values, reverse=not ascending), metric


def test_results_come_first_whatever_they_are_called():
    images = {"white noise": noise(32, 32), "the source": noise(40, 40)}
    rows = list(evaluate_texture(images, noise(32, 32, seed=1), config=FAST))
    assert [row.name for row in rows[:3]] == ["white noise", "the source", "white noise"]
    assert [row.is_baseline for row in rows] == [False] * 2 + [True] * 4
    assert rows[0].scores != rows[2].scores


def test_a_seed_decides_the_baselines_and_nothing_else():
    images, source = {"mine": noise(32, 32)}, noise(32, 32, seed=1)
    tables = []
    for seed in (0, 0, 1):
        config = EvaluationConfig(held_out_seeds=(5,), texture_layers=("conv1_1",), seed=seed)
        tables.append(list(evaluate_texture(images, source, config=config)))
    first, same, other = tables
    assert first == same
    assert [a == b for a, b in zip(first, other, strict=True)] == [True, *[False] * 3, True]


def test_every_metric_exists_at_the_smallest_side():
    """With the default layers and one network; one pixel less is refused before any is built."""
    config = EvaluationConfig(held_out_seeds=(5,))
    side = MINIMUM_SIDE
    least, content = noise(side, side), noise(side, side, seed=1)
    for rows in (
        evaluate_texture({"mine": least}, content, config=config),
        evaluate_style({"mine": least}, content, [least], config=config),
    ):
        for row in rows:
            assert np.isfinite(list(row.scores.numbers().values())).all()
    small = noise(side - 1, side)
    for call in (
        lambda: evaluate_texture({"mine": small}, content),
        lambda: evaluate_texture({}, small),
        lambda: evaluate_texture({}, content, held_out=small),
        lambda: evaluate_style({"mine": small}, content, [content]),
        lambda: evaluate_style({}, small, [content]),
        lambda: evaluate_style({}, content, [small]),
        lambda: evaluate_texture({"the source": small}, content),
    ):
        with pytest.raises(InvalidInputError, match="at least 32 pixels a side"):
            call()


def test_what_cannot_be_compared_is_refused():
    content = noise(40, 40)
    with pytest.raises(InvalidInputError, match="one style image"):
        evaluate_style({}, content, [])
    with pytest.raises(
        InvalidInputError,
        match=r"mine: expected the content's shape \(40, 40, 3\)\. Received: \(40, 41",
    ):
        evaluate_style({"mine": noise(40, 41)}, content, [content])


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"held_out_seeds": ()}, InvalidInputError),
        ({"held_out_seeds": (-1,)}, InvalidInputError),
        ({"seed": -1}, InvalidInputError),
        ({"texture_layers": ()}, LayerError),
        ({"style_layers": ("conv9_1",)}, LayerError),
        ({"content_layers": ("fc6",)}, LayerError),
    ],
)
def test_settings_that_mean_nothing_are_refused(values, error):
    with pytest.raises(error, match="expected"):
        EvaluationConfig(**values)


def test_no_network_that_makes_images_judges_them():
    from rwgen import load_recipe, network_names

    seeds = {load_recipe(name).seed for name in network_names()}
    assert not seeds & set(EvaluationConfig().held_out_seeds)
