"""Help, version, `rwgen layers`, and the defaults that they show."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rwgen.cli.commands import COMMANDS, load_command
from rwgen.cli.help import OLD_ALIAS
from rwgen.cli.main import main
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig

SHARED = ("--output", "--size", "--iterations", "--seed", "--network", "--from", "--save-every",
          "--history", "--logdir", "--profile", "--checkpoint", "--checkpoint-every",
          "--parameterization", "--quiet", "--json", "--memory-limit", "--device", "--octaves",
          "--unit-activations", "--paper", "--force", "--bits", "--skip-done", "--config",
          "--variations", "--network-seed", "--view", "--animate")  # fmt: skip
GRAM = ("--weighting", "--shift-features", "--no-shift-features", "--whiten-gram",
        "--no-whiten-gram")  # fmt: skip
OPTIONS = {
    "style": (*SHARED, *GRAM, "--preset", "--precision", "--content-weight", "--style-weight",
              "--tv-weight",
              "--content-layer", "--style-layer", "--style-blend", "--style-scale", "--init",
              "--colors", "--content-mask", "--style-mask"),
    "texture": (*SHARED, *GRAM, "--precision", "--source-size", "--layer",
                "--tileable", "--source-blend", "--blend",
                "--inpaint"),
    "invert": (*SHARED, "--layer"),
    "morph": ("--output", "--layer", "--steps", "--frames", "--rate", "--back",
              "--no-back", "--size", "--iterations", "--seed", "--network", "--parameterization",
              "--memory-limit", "--device", "--force", "--quiet", "--json"),
    "batch": ("--output", "--workers", "--threads", "--ray", "--force", "--quiet", "--json"),
    "evaluate": ("--source", "--held-out", "--content", "--style", "--size", "--seed",
                 "--output", "--force", "--quiet", "--json"),
    "probe": ("--image", "--output", "--layer", "--size", "--seeds", "--iterations",
              "--plot", "--force", "--quiet", "--json"),
    "doctor": ("--json",),
    "layers": ("--network", "--size", "--json"),
    "networks": ("--json",),
    "build": ("--reference", "--output", "--candidates", "--layer", "--name",
              "--network", "--width", "--size", "--iterations", "--seed", "--workers", "--ray",
              "--checkpoint", "--force", "--quiet", "--json"),
    "export": ("--output", "--layer", "--signatures", "--size", "--quiet", "--json"),
    "inspect": ("--json",),
    "serve": ("--model-config-file", "--name", "--server", "--host", "--rest-port", "--grpc-port",
              "--label", "--max-batch-size", "--request-timeout", "--drain-timeout", "--tls-key",
              "--tls-certificate", "--tls-client-ca", "--no-reload", "--quiet"),
    "features": ("--output", "--server", "--model", "--network", "--layer",
                 "--signature", "--size", "--batch-size", "--timeout", "--root-certificates",
                 "--client-key", "--client-certificate",
                 "--ray", "--shards", "--shard-size", "--force", "--quiet", "--json"),
    "studio": ("--output", "--host", "--port", "--memory-limit", "--device", "--quiet"),
    "reproduce": ("--output", "--scale", "--images", "--trained", "--workers", "--quiet", "--json"),
}  # fmt: skip
# Configuration, and the parameters whose names are not those of its fields.
CONFIGS: dict[str, tuple[Any, dict[str, str]]] = {
    "style": (
        StyleConfig(),
        {"content_layers": "content_layer", "style_layers": "style_layer"},
    ),
    "texture": (TextureConfig(), {"layers": "layer"}),
    "invert": (InversionConfig(), {}),
}

# Fields that only Python sets.
NOT_OPTIONS = ("optimizer", "propagate_differences", "whiten_features")


def parameters(command: str) -> dict[str, Any]:
    return {parameter.name: parameter for parameter in load_command(command).params}


def test_each_command_is_summed_up_by_the_first_line_of_its_help() -> None:
    assert set(COMMANDS) == set(OPTIONS)
    for name, (_, summary) in COMMANDS.items():
        assert summary == load_command(name).help.splitlines()[0]


def test_the_program_is_installed_as_rwgen() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="rwgen")
    assert script.load() is main


def test_the_version_is_the_one_that_is_installed(call: Callable[..., Any]) -> None:
    run = call("--version")
    version = importlib.metadata.version("rwgen")
    assert (run.code, run.out, run.err) == (0, f"rwgen {version}\n".encode(), "")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command(arguments: tuple[str, ...], call: Callable[..., Any]) -> None:
    run = call(*arguments)
    assert (run.code, run.err) == (0, "")
    for command in OPTIONS:
        assert f" {command} " in run.out.decode()


@pytest.mark.parametrize("command", OPTIONS)
def test_the_help_of_a_command_lists_every_option(
    command: str, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = call(command, "--help")
    assert (run.code, run.err) == (0, "")
    assert run == call(command, "-h")
    words = set(run.out.decode().replace(",", " ").split())
    assert set(OPTIONS[command]) <= words
    names = {name for item in parameters(command).values() for name in item.opts}
    assert {name for name in names if name.startswith("--")} - {OLD_ALIAS} <= words
    assert OLD_ALIAS not in words


@pytest.mark.parametrize("command", ["", *OPTIONS])
def test_help_is_whole_at_80_columns_and_in_words(
    command: str, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = call(*command.split(), "-h").out.decode()
    assert max(map(len, text.splitlines())) <= 80
    for fragment in (
        "{",
        "…",
        "equation",
        "eq.",
        "**",
        "<=",
        "<str>",
        "<bool>",
        "range>",
        "9223372",
    ):
        assert fragment not in text
    flowing = " ".join(text.split())
    for item in parameters(command).values() if command else ():
        assert " ".join(item.help.split()) in flowing
        for name in (*item.opts, *item.secondary_opts):
            if name.startswith("-") and name != OLD_ALIAS:
                assert f"{name} " in flowing.replace(",", " ")
        if item.metavar:
            assert item.metavar in text


@pytest.mark.parametrize("command", sorted({*OPTIONS} - {"networks"}))
def test_help_has_an_example_that_can_be_called(command: str) -> None:
    loaded = load_command(command)
    (line,) = [line for line in loaded.help.splitlines() if line.startswith("Example: ")]
    program, name, *arguments = line.removeprefix("Example: ").split()
    assert (program, name) == ("rwgen", command)
    # Raises if an option is unknown or missing, or has a value of another type.
    context = loaded.make_context(name, arguments)
    assert any(context.params[key] for key in context.params)


PANELS = {
    "style": {
        "Options": ["output", "size", "iterations", "seed", "content_weight", "style_weight",
                    "tv_weight"],
        "Look": ["preset", "style_blend", "style_scale", "init", "colors", "content_mask",
                 "style_mask", "octaves", "content_layer", "style_layer"],
        "Running": ["from_image", "bits", "config", "variations", "memory_limit", "device",
                    "save_every", "animate", "history", "logdir", "view", "profile", "checkpoint",
                    "checkpoint_every", "force", "skip_done", "quiet", "json"],
        "Research": ["paper", "network", "network_seed", "weighting", "margin",
                     "parameterization", "precision", "shift_features", "whiten_gram",
                     "unit_activations"],
    },
    "texture": {"Options": ["output", "size", "source_size", "iterations", "seed"],
                "Look": ["tileable", "source_blend", "inpaint", "octaves", "layer"]},
    "invert": {"Options": ["output", "layer", "size", "iterations", "seed"], "Look": ["octaves"]},
}  # fmt: skip


@pytest.mark.parametrize("command", PANELS)
def test_options_are_in_panels_with_everyday_ones_first(
    command: str, call: Callable[..., Any]
) -> None:
    options = [item for item in parameters(command).values() if item.opts[0].startswith("-")]
    found: dict[str, list[str]] = {}
    for item in options:
        found.setdefault(item.rich_help_panel or "Options", []).append(item.name)
    assert list(found) == ["Options", "Look", "Running", "Research"]
    for panel, names in PANELS[command].items():
        assert found[panel] == names
    text = call(command, "--help").out.decode()
    places = [text.index(f"\n{panel}:\n") for panel in found]
    assert places == sorted(places)


def test_the_help_shows_the_layers_that_are_the_default(call: Callable[..., Any]) -> None:
    for command, layers in (
        ("style", "conv1_1, conv2_1"),
        ("style", "conv1_1, conv2_1, conv3_1, conv4_1"),
        ("texture", "conv1_1, conv2_1, conv3_1, conv4_1"),
    ):
        text = " ".join(call(command, "--help").out.decode().split())
        assert f"[default: {layers}]" in text
        assert "conv5_1" not in text


@pytest.mark.parametrize("command", CONFIGS)
def test_the_defaults_are_those_of_the_configuration(command: str) -> None:
    config, renamed = CONFIGS[command]
    found = parameters(command)
    assert found["iterations"].default == config.optimizer.max_iterations
    for field in dataclasses.fields(config):
        name = renamed.get(field.name, field.name)
        value = getattr(config, field.name)
        if name in ("content_layer", "style_layer", "layer"):
            assert found[name].show_default == ", ".join(value)
        elif name in ("style_blend", "style_scale", "source_blend"):
            assert (found[name].default, value) == ("", ())
        elif name not in NOT_OPTIONS and (command, name) != ("invert", "weighting"):
            assert found[name].default == value, name


def test_the_weights_of_the_paper_are_the_default_but_for_a_third_of_the_content() -> None:
    found = parameters("style")
    weights = [found[f"{name}_weight"].default for name in ("content", "style", "tv")]
    assert weights == [35, 1, 1000]


# The topology of Simonyan and Zisserman, configuration E, at 256x256.
VGG19 = [
    (f"conv{block}_{index}" if index else f"pool{block}", channels)
    for block, (channels, convolutions) in enumerate(
        ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)), start=1
    )
    for index in (*range(1, convolutions + 1), 0)
] + [("fc6", 4096), ("fc7", 4096), ("fc8", 1000)]


def test_layers_prints_the_whole_network_as_one_json_object(call: Callable[..., Any]) -> None:
    run = call("layers", "--json")
    assert (run.code, run.err) == (0, "")
    assert run.json["network"] == "ranvgg19"
    rows = {row["layer"]: row for row in run.json["layers"]}
    assert [(row["layer"], row["shape"][-1]) for row in run.json["layers"]] == VGG19
    assert rows["conv4_2"]["shape"] == [32, 32, 512]
    assert rows["conv4_2"]["keras_name"] == "block4_conv2"
    assert rows["conv4_2"]["parameters"] == 9 * 512 * 512 + 512
    assert rows["pool5"]["shape"] == [8, 8, 512]
    assert (rows["fc8"]["kind"], rows["fc8"]["keras_name"]) == ("dense", "predictions")


def test_layers_are_listed_as_far_as_the_image_reaches(call: Callable[..., Any]) -> None:
    names = [row["layer"] for row in call("layers", "--json", "--size", "9x5").json["layers"]]
    assert names == [name for name, _ in VGG19][: names.index("conv3_4") + 1]
    first = call("layers", "--json", "--size", "9x5").json["layers"][2]
    assert (first["layer"], first["shape"]) == ("pool1", [2, 4, 64])


def test_layers_prints_a_table_with_the_total(call: Callable[..., Any]) -> None:
    run = call("layers", "--network", "ranvgg19-zero-bias", "--size", "64x48")
    lines = run.out.decode().splitlines()
    assert (run.code, run.err) == (0, "")
    assert "ranvgg19-zero-bias, image 64x48" in lines[0]
    assert ["conv2_1", "block2_conv1", "24x32x128", "73,856"] in [line.split() for line in lines]
    # The sum that Keras gives for VGG19 without its dense layers.
    assert lines[-1].split() == ["total", "20,024,384"]


def test_layers_has_the_channels_of_the_network(call: Callable[..., Any], tmp_path: Path) -> None:
    rows = call("layers", "--network", "ranvgg19-half-width", "--json").json["layers"]
    halves = [(name, units // 2) for name, units in VGG19[:-1]]
    assert [(row["layer"], row["shape"][-1]) for row in rows] == [*halves, ("fc8", 1000)]
    assert sum(row["parameters"] for row in rows) == 44_809_736
    recipe = tmp_path / "blocks.json"
    recipe.write_text(json.dumps({"schema_version": 1, "blocks": [[4, 3], [6, 1]]}))
    rows = call("layers", "--network", recipe, "--json").json["layers"]
    assert [(row["layer"], row["shape"]) for row in rows] == [
        *((f"conv1_{index}", [256, 256, 4]) for index in (1, 2, 3)), ("pool1", [128, 128, 4]),
        ("conv2_1", [128, 128, 6]), ("pool2", [64, 64, 6]),
        ("fc3", [4096]), ("fc4", [4096]), ("fc5", [1000]),
    ]  # fmt: skip
    assert rows[-3]["parameters"] == 64 * 64 * 6 * 4096 + 4096
    small = call("layers", "--network", recipe, "--json", "--size", "3").json["layers"]
    assert [row["layer"] for row in small] == ["conv1_1", "conv1_2", "conv1_3", "pool1", "conv2_1"]


def test_layers_of_a_recipe_whose_name_looks_like_markup(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"schema_version": 1, "name": "[red]"}))
    run = call("layers", "--network", recipe)
    if run.code == 0:  # recipes may also refuse such a name
        assert b"[red], image 256x256" in run.out
    assert run.code in (0, 2)


def test_help_and_listings_need_no_tensorflow() -> None:
    program = """
import sys
from rwgen.cli.help import OLD_ALIAS
from rwgen.cli.main import main
calls = [], ["--help"], ["--version"], ["style", "--help"], ["texture", "--help"]
calls += ["invert", "--help"], ["layers", "--help"], ["layers"], ["layers", "--json"]
codes = [main(list(call)) for call in calls]
loaded = {"tensorflow", "keras", "tf_keras", "tensorflow_probability"} & set(sys.modules)
print(codes, sorted(loaded), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == [f"{[0] * 9} []"]
