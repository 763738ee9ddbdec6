"""`--paper`: the paper's settings instead of the defaults, alone, with options or `--from`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rwgen.cli.provenance import read_provenance
from rwgen.optimize.config import OptimizerConfig
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig

Call = Callable[..., Any]

COMMANDS = {
    "style": ("style", "{content}", "{style}", "--size", "40"),
    "texture": ("texture", "{style}", "--size", "20x16", "--source-size", "20"),
    "invert": ("invert", "{content}", "--size", "40", "--layer", "conv1_1"),
}
ITERATIONS = OptimizerConfig(max_iterations=4)
GRAM = {"shift_features": False, "whiten_gram": False}
SEARCH = {"weighting": "signed", "octaves": 0, "parameterization": "pixel"}
LITERAL = {
    "style": StyleConfig(
        network="ranvgg19",
        content_layers=("conv2_2",),
        style_layers=("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        content_weight=100 * 300,
        style_weight=1,
        tv_weight=1000 * 20_000,
        match_colors=False,
        optimizer=ITERATIONS,
        **GRAM,
        **SEARCH,
    ),
    "texture": TextureConfig(network="ranvgg19", optimizer=ITERATIONS, **GRAM, **SEARCH),
    # `weighting` is no option of inversions.
    "invert": InversionConfig(
        network="ranvgg19",
        propagate_differences=False,
        whiten_features=False,
        optimizer=ITERATIONS,
        **SEARCH,
    ),
}
STORED = {
    "style": {
        "network": "ranvgg19",
        "content_layer": ["conv2_2"],
        "style_layer": ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"],
        "content_weight": 100 * 300,
        "style_weight": 1,
        "tv_weight": 1000 * 20_000,
        "match_colors": False,
        "paper": True,
        **GRAM,
        **SEARCH,
    },
    "texture": {"network": "ranvgg19", "paper": True, **GRAM, **SEARCH},
    "invert": {"network": "ranvgg19", "paper": True, "octaves": 0, "parameterization": "pixel"},
}


@pytest.fixture
def make(call: Call, pictures: Any, tmp_path: Path) -> Callable[..., Path]:
    """Make an image of a command with further options; its file."""

    def made(command: str, *options: object, name: str = "made.png") -> Path:
        names = {"content": pictures.content, "style": pictures.style}
        arguments = [argument.format(**names) for argument in COMMANDS[command]]
        run = call(*arguments, "-o", tmp_path / name, "--iterations", 4, *options)
        assert (run.code, run.err) == (0, "")
        return tmp_path / name

    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_the_settings_are_the_papers(command: str, make: Call, fake_tasks: Any) -> None:
    image = make(command, "--paper")
    assert fake_tasks.last["config"] == LITERAL[command]
    assert [recipe.name for recipe in fake_tasks.recipes] == ["ranvgg19"]
    stored = read_provenance(str(image), command).options
    assert {name: stored[name] for name in STORED[command]} == STORED[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_other_options_take_precedence(command: str, make: Call, fake_tasks: Any) -> None:
    """Also a default of rwgen, if it is given."""
    options = ("--octaves", 1, "--parameterization", "box", "--network", "ranvgg19-half-width")
    make(command, *options, "--paper")
    config, literal = fake_tasks.last["config"], LITERAL[command]
    assert (config.octaves, config.parameterization) == (1, "box")
    assert config.network == "ranvgg19-half-width"
    if command == "invert":
        assert not config.propagate_differences
        return
    assert (config.weighting, config.whiten_gram) == (literal.weighting, literal.whiten_gram)
    make(command, "--paper", "--shift-features", "--whiten-gram", "--weighting", "magnitude")
    config = fake_tasks.last["config"]
    assert (config.shift_features, config.whiten_gram, config.weighting) == (
        True, True, "magnitude",
    )  # fmt: skip
    assert config.network == "ranvgg19"


def test_layers_and_weights_of_a_style_take_precedence(make: Call, fake_tasks: Any) -> None:
    make("style", "--content-layer", "conv1_2", "--style-layer", "conv1_1", "--style-layer",
         "conv2_1", "--content-weight", 7, "--match-colors", "--paper")  # fmt: skip
    config = fake_tasks.last["config"]
    assert (config.content_layers, config.style_layers) == (("conv1_2",), ("conv1_1", "conv2_1"))
    assert (config.content_weight, config.tv_weight) == (7, 1000 * 20_000)
    assert config.match_colors


@pytest.mark.parametrize("command", COMMANDS)
def test_an_image_of_the_paper_is_repeated(
    command: str, make: Call, call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    image, again = make(command, "--paper", "--octaves", 1), tmp_path / "again.png"
    assert call(command, "--from", image, "-o", again).code == 0
    first, second = fake_tasks.seen
    assert first["config"] == second["config"]
    assert second["config"].octaves == 1
    assert again.read_bytes() == image.read_bytes()


def test_a_real_inversion_of_the_paper_is_repeated(make: Call, call: Call, tmp_path: Path) -> None:
    """Two of its settings are no options; without them the image is another one."""
    image, again = make("invert", "--paper", "--layer", "conv1_2"), tmp_path / "again.png"
    assert call("invert", "--from", image, "-o", again).code == 0
    assert again.read_bytes() == image.read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
def test_departures_of_an_image_are_set_back(
    command: str, make: Call, call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    """Defaults, and an option whose default is the paper's; all else is kept."""
    given = ("--seed", 5, *(() if command == "invert" else ("--parameterization", "box")))
    image, paper = make(command, *given), tmp_path / "paper.png"
    assert call(command, "--from", image, "--paper", "-o", paper).code == 0
    first, second = fake_tasks.seen
    assert first["config"] != second["config"]
    expected = vars(LITERAL[command]) | {"seed": 5}
    assert vars(second["config"]) == expected
    assert [recipe.name for recipe in fake_tasks.recipes][-1] == "ranvgg19"
    kept = call(command, "--from", image, "--paper", "--octaves", 1, "-o", paper)
    assert kept.code == 0
    assert vars(fake_tasks.last["config"]) == expected | {"octaves": 1}
    assert call(command, "--from", paper, "-o", tmp_path / "again.png").code == 0
    assert fake_tasks.seen[-1]["config"] == fake_tasks.seen[-2]["config"]
    assert (tmp_path / "again.png").read_bytes() == paper.read_bytes()
