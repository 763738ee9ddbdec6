"""The literal paper: `paper()` of the three configurations."""

import dataclasses

import pytest

from rwgen import InvalidInputError, InversionConfig, OptimizerConfig, StyleConfig, TextureConfig

CONFIGS = (StyleConfig, TextureConfig, InversionConfig)
GRAM = {
    "weighting": "signed",
    "shift_features": False,
    "whiten_gram": False,
    "octaves": 0,
    "margin": 0,
    "parameterization": "pixel",
    "seed": 0,
    "precision": "float32",
}
PAPER = {
    StyleConfig: {
        "network": "ranvgg19",
        "content_layers": ("conv2_2",),
        "style_layers": ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        "content_weight": pytest.approx(30_000),
        "style_weight": 1.0,
        "tv_weight": pytest.approx(20_000_000),
        "style_blend": (),
        "style_scale": (),
        "colors": "mixed",
        "init": "noise",
        **GRAM,
        "optimizer": StyleConfig().optimizer,
    },
    TextureConfig: {
        "network": "ranvgg19",
        "layers": ("conv1_1", "conv2_1", "conv3_1", "conv4_1"),
        "source_blend": (),
        "tileable": False,
        **GRAM,
        "optimizer": OptimizerConfig(),
    },
    InversionConfig: {
        "network": "ranvgg19",
        "weighting": "signed",
        "parameterization": "pixel",
        "propagate_differences": False,
        "whiten_features": False,
        "octaves": 0,
        "seed": 0,
        "optimizer": OptimizerConfig(),
    },
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_field_has_the_papers_value(kind):
    assert vars(kind.paper()) == PAPER[kind]


@pytest.mark.parametrize("kind", CONFIGS)
def test_other_values_take_precedence(kind):
    config = kind.paper(octaves=2, seed=3, network="ranvgg19-zero-bias")
    changes = {"octaves": 2, "seed": 3, "network": "ranvgg19-zero-bias"}
    assert vars(config) == PAPER[kind] | changes
    assert config == dataclasses.replace(kind.paper(), **changes)


@pytest.mark.parametrize("kind", CONFIGS)
def test_other_values_are_checked(kind):
    with pytest.raises(InvalidInputError, match="octaves"):
        kind.paper(octaves=-1)
    with pytest.raises(TypeError, match="octave"):
        kind.paper(octave=1)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_papers_values_cannot_be_changed(kind):
    with pytest.raises(TypeError):
        kind.PAPER["octaves"] = 1
