"""What a result is held to, and style targets that are kept from one call for the next."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import rwgen
from rwgen import InvalidInputError, OptimizerConfig, StyleConfig
from rwgen.network.preprocess import network_input
from rwgen.synthesis import objectives
from rwgen.synthesis.colors import luminance, match_colors
from rwgen.synthesis.hold import Hold
from rwgen.synthesis.objectives import style_objective
from rwgen.synthesis.style_targets import MAX_TARGETS, StyleTargets

CONFIG = StyleConfig(
    content_layers=("conv2_1",),
    style_layers=("conv1_1", "conv2_1"),
    octaves=0,
    optimizer=OptimizerConfig(max_iterations=4, jit_compile=False),
)


def picture(seed, height=24, width=32):
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 4, width // 4, 3))
    return rwgen.resize_image(noise, height, width)


def stylize(content, style, network, **rest):
    return rwgen.transfer_style(content, style, network=network, **{"config": CONFIG, **rest})


@pytest.fixture(scope="module")
def network(small_network):
    return small_network()


def test_the_term_sums_squared_differences_by_their_shares(network):
    content, style, candidate, held = (network_input(picture(n), "float64") for n in range(4))
    shares = np.random.default_rng(9).uniform(0, 1, (24, 32))
    plain = style_objective(network, content, [style], CONFIG)
    own = style_objective(network, content, [style], CONFIG, hold=Hold(picture(3), shares, 5.0))
    free, found = (
        {name: float(value) for name, value in objective(tf.constant(candidate)).items()}
        for objective in (plain, own)
    )
    expected = 0.0
    for row in range(24):
        for column in range(32):
            away = candidate[0, row, column].astype(float) - held[0, row, column]
            expected += 5 * shares[row, column] * float(away @ away)
    assert found.pop("temporal") == pytest.approx(expected, rel=1e-5)
    assert found == pytest.approx(free, rel=1e-6)
    assert own.structure != plain.structure


@pytest.mark.usefixtures("eager")
def test_a_result_stays_where_it_is_held_and_starts_there(network):
    shares = np.zeros((24, 32), np.float32)
    shares[:, 16:] = 1
    held = picture(2)
    starts = []
    hold = Hold(held, shares, 1e4)
    found = stylize(
        picture(0), picture(1), network, hold=hold,
        callback=lambda step: starts.append(step.image),
    )  # fmt: skip
    np.testing.assert_allclose(starts[0][:, 16:], held[:, 16:], atol=0.01)
    # In the styles' colors, as by default; starts are clipped.
    content = match_colors(picture(0), [picture(1)]).clip(0, 255)
    np.testing.assert_allclose(starts[0][:, :16], content[:, :16], atol=0.01)
    away = np.abs(found.image - held).mean(axis=2)
    assert away[:, 16:].max() < 1
    assert away[:, :16].mean() > 5
    none = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(max_iterations=0))
    own = stylize(picture(0), picture(1), network, hold=hold, init=picture(3), config=none)
    np.testing.assert_allclose(own.image, picture(3), atol=0.01)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("colors", ["content", "content-after"])
def test_only_luminance_is_held_where_colors_are_the_photos(network, colors):
    """The last result has the photo's chroma, which the search does not."""
    config = dataclasses.replace(CONFIG, colors=colors)
    hold = Hold(picture(2) / 2 + 60, np.ones((24, 32), np.float32), 1e4)
    content = np.repeat(luminance(picture(0)), 3, axis=2) / 2 + 60  # so that nothing is clipped
    style = picture(1) / 4 + 90
    found = stylize(content, style, network, hold=hold, config=config)
    away = luminance(found.image) - luminance(hold.image)
    assert np.abs(away).mean() < 3
    np.testing.assert_allclose(found.image - luminance(found.image), 0, atol=1e-2)
    if colors == "content":  # gray like the search, the start is what is held
        assert found.history[0].terms["temporal"] < 1e-3


@pytest.mark.usefixtures("eager")
def test_a_coarser_size_is_held_to_the_smaller_image(network):
    config = dataclasses.replace(CONFIG, octaves=1)
    hold = Hold(picture(2, 64, 64), np.ones((64, 64), np.float32), 1e4)
    found = stylize(picture(0, 64, 64), picture(1, 64, 64), network, hold=hold, config=config)
    assert np.abs(found.image - hold.image).mean() < 3


def test_shares_of_another_size_are_refused(network):
    with pytest.raises(InvalidInputError, match=r"the image's size, \(24, 32\)"):
        Hold(picture(2), np.ones((24, 31)), 1.0)
    hold = Hold(picture(2, 20, 32), np.ones((20, 32)), 1.0)
    with pytest.raises(InvalidInputError, match=r"shape \(24, 32, 3\)"):
        stylize(picture(0), picture(1), network, hold=hold)


@pytest.fixture
def computed(monkeypatch):
    """Style images whose values were computed."""
    seen = []
    original = objectives.style_values

    def style_values(read, styles, *rest):
        seen.append(styles[0].shape[1:3])
        return original(read, styles, *rest)

    monkeypatch.setattr(objectives, "style_values", style_values)
    return seen


@pytest.mark.usefixtures("eager")
def test_style_targets_are_computed_once_for_a_size_and_change_nothing(network, computed):
    kept = StyleTargets()
    style = picture(1)
    for seed in (0, 2):
        content = picture(seed)
        found = stylize(content, style, network, style_targets=kept)
        assert len(computed) == 1
        fewer = OptimizerConfig(max_iterations=2, jit_compile=False)
        config = dataclasses.replace(CONFIG, optimizer=fewer)
        stylize(content, style, network, style_targets=kept, config=config)
        assert len(computed) == 1
        expected = stylize(content, style, network)
        np.testing.assert_array_equal(found.image, expected.image)
        assert computed.pop() == (24, 32)
    others = [
        (style[:20], {}),
        (picture(3), {}),
        (style, {"config": dataclasses.replace(CONFIG, style_weight=2.0)}),
        (style, {"config": dataclasses.replace(CONFIG, whiten_gram=False)}),
        (style, {"content_mask": np.tile(np.repeat([0, 255], 16), (24, 1))}),
    ]
    for number, (other, rest) in enumerate(others, start=2):
        found = stylize(picture(0), other, network, style_targets=kept, **rest)
        assert len(computed) == number
        computed.pop()
        expected = stylize(picture(0), other, network, **rest)
        np.testing.assert_array_equal(found.image, expected.image)


def test_the_oldest_targets_make_room():
    kept = StyleTargets()
    for key in range(MAX_TARGETS):
        assert kept.get(key, lambda key=key: key) == key
    assert kept.get(0, lambda: -1) == 0  # and is the newest now
    assert kept.get("more", lambda: 5) == 5
    assert kept.get(0, lambda: -1) == 0
    assert kept.get(1, lambda: -1) == -1
