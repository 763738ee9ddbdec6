"""`--paper`: every departure from the paper set back, with tasks that only note what they get."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rwgen import InversionConfig, OptimizerConfig, StyleConfig, TextureConfig

Call = Callable[..., Any]

OPTIMIZER = OptimizerConfig(max_iterations=2)
KINDS = {"style": StyleConfig, "texture": TextureConfig, "invert": InversionConfig}
LITERAL = {name: kind.paper(optimizer=OPTIMIZER) for name, kind in KINDS.items()}
"""Expected configurations; tests/synthesis/test_paper.py spells their values out."""


@pytest.fixture
def run(call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path) -> Callable[..., Any]:
    """Call a command with small images; returns the configuration that the task was given."""
    inputs = {
        "style": [pictures.content, pictures.style],
        "texture": [pictures.style, "--size", "32x32"],
        "invert": [pictures.content, "--layer", "pool1"],
    }

    def made(command: str, *options: Any, given: bool = True) -> Any:
        arguments = inputs[command] if given else []
        output = tmp_path / f"{command}.png"
        done = call(command, *arguments, "--iterations", 2, *options, "-o", output, "-fq")
        assert (done.code, done.err) == (0, "")
        return fake_tasks.last["config"]

    return made


@pytest.mark.parametrize("command", LITERAL)
def test_the_configuration_is_the_paper_s(command: str, run: Any) -> None:
    assert run(command) != LITERAL[command]
    assert run(command, "--paper") == LITERAL[command]


@pytest.mark.parametrize("command", LITERAL)
def test_an_option_given_as_well_takes_precedence(command: str, run: Any) -> None:
    expected = dataclasses.replace(LITERAL[command], octaves=1, network="ranvgg19-zero-bias")
    options = ("--octaves", 1, "--network", "ranvgg19-zero-bias")
    assert run(command, "--paper", *options) == expected


@pytest.mark.parametrize("command", LITERAL)
def test_the_image_repeats_itself(command: str, run: Any, tmp_path: Path) -> None:
    run(command, "--paper")
    first = (tmp_path / f"{command}.png").rename(tmp_path / "first.png")
    assert run(command, "--from", first, given=False) == LITERAL[command]
    with Image.open(first) as image:
        assert json.loads(image.text["rwgen"])["options"]["paper"] is True


@pytest.mark.parametrize("command", LITERAL)
def test_departures_of_an_image_are_set_back(command: str, run: Any, tmp_path: Path) -> None:
    run(command)
    first = (tmp_path / f"{command}.png").rename(tmp_path / "first.png")
    assert run(command, "--from", first, "--paper", given=False) == LITERAL[command]
