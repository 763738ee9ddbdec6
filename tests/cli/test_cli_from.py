"""`--from`: which settings are taken from an image, with tasks that only note what they get."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

Call = Callable[..., Any]

COMMANDS = {
    "style": ("style", "{content}", "{style}", "--content-weight", "7", "--init", "{start}"),
    "texture": ("texture", "{style}", "--size", "20x16", "--layer", "conv1_1"),
    "invert": ("invert", "{content}", "--layer", "pool1", "--size", "40"),
}


@pytest.fixture
def made(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    """Make an image with a command; its file and what the task was given."""

    def make(command: str) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / "inputs"
        folder.mkdir(exist_ok=True)
        names = {}
        for name in ("content", "style", "start"):
            original: Path = getattr(pictures, name)
            (folder / original.name).write_bytes(original.read_bytes())
            names[name] = str(folder / original.name)
        arguments = [argument.format(**names) for argument in COMMANDS[command]]
        run = call(*arguments, "-o", folder / "made.png", "--seed", 11, "--iterations", 4, "-fq")
        assert (run.code, run.err) == (0, "")
        return folder / "made.png", fake_tasks.last

    return make


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    passing = {"callback", "memory_limit"}  # what is free differs from moment to moment
    keys = first.keys() - passing
    assert keys == second.keys() - passing
    return all(np.array_equal(first[key], second[key]) for key in keys - {"styles"}) and all(
        map(np.array_equal, first.get("styles", ()), second.get("styles", ()))
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_everything_is_taken_from_the_image(
    command: str, made: Call, call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    image, first = made(command)
    run = call(command, "--from", image, "-o", image.with_name("again.png"), "-q")
    assert (run.code, run.err) == (0, "")
    assert same(first, fake_tasks.last)
    assert image.with_name("again.png").read_bytes() == image.read_bytes()


def stored(image: Path) -> Any:
    with Image.open(image) as picture:
        return json.loads(picture.text["rwgen"])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("moved", ["nothing", "all", "the image"])
def test_inputs_are_found_from_any_folder(
    command: str, moved: str, made: Call, call: Call, fake_tasks: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    image, first = made(command)
    folder = image.parent
    if moved == "all":
        folder = folder.rename(tmp_path / "elsewhere")
        image = folder / image.name
    elif moved == "the image":
        (tmp_path / "elsewhere").mkdir()
        image = image.rename(tmp_path / "elsewhere" / image.name)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    named = Path("..") / image.relative_to(tmp_path)
    run = call(command, "--from", named, "-o", "again.png")
    assert run.code == 0
    assert [line.split()[1] for line in run.err.splitlines()] == ["wrote"]
    assert same(first, fake_tasks.last)
    again = stored(Path("again.png"))
    notes = [note for note in run.notes if " named by " in note]
    for item, note in zip(again["inputs"], notes, strict=True):
        assert Path(item["path"]).parent == folder
        assert (tmp_path / "work" / item["relative"]).resolve() == Path(item["path"])
        assert note.startswith(f"{item['role']} image: ")
        assert note.endswith(f"{Path(item['path']).name}, named by {named}")
    assert call(command, "--from", "again.png", "-o", "third.png").code == 0
    assert same(first, fake_tasks.last)


def test_an_image_that_stored_no_relative_paths_is_understood(
    made: Call, call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    image, first = made("texture")
    settings = stored(image)
    for item in settings["inputs"]:
        del item["relative"]
    info = PngInfo()
    info.add_itxt("rwgen", json.dumps(settings))
    with Image.open(image) as picture:
        picture.save(tmp_path / "old.png", pnginfo=info)
    assert call("texture", "--from", tmp_path / "old.png", "-o", tmp_path / "out.png").code == 0
    assert same(first, fake_tasks.last)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_copy_can_replace_the_image(command: str, made: Call, call: Call) -> None:
    image, _ = made(command)
    before = image.read_bytes()
    assert call(command, "--from", image, "-o", image).code == 0
    assert image.read_bytes() == before


def test_options_beside_it_override_and_the_rest_is_kept(
    made: Call, call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    image, first = made("style")
    out = tmp_path / "other.png"
    call("style", "--from", image, "-o", out, "--seed", 12, "--style-layer", "conv1_1",
         "--init", "noise", "--network", "ranvgg19")  # fmt: skip
    config, other = first["config"], fake_tasks.last["config"]
    assert (config.seed, other.seed) == (11, 12)
    assert other.style_layers == ("conv1_1",)
    assert fake_tasks.last["init"] is None
    assert [recipe.name for recipe in fake_tasks.recipes] == ["ranpyramid", "ranvgg19"]
    assert other.content_weight == config.content_weight == 7
    assert other.optimizer.max_iterations == 4
    # What was overridden is what the new image tells.
    call("style", "--from", out, "-o", tmp_path / "again.png")
    assert same(fake_tasks.seen[-2], fake_tasks.last)
    assert fake_tasks.last["config"] == other


def test_a_default_given_beside_it_overrides_too(
    made: Call, call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    image, _ = made("style")
    call("style", "--from", image, "-o", tmp_path / "out.png", "--content-weight", 100)
    assert fake_tasks.last["config"].content_weight == 100


def test_other_images_with_the_settings_of_an_image(
    made: Call, call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path, read_pixels: Call
) -> None:
    image, first = made("texture")
    out = tmp_path / "out.png"
    run = call("texture", pictures.second, "--from", image, "-o", out, "--source-size", 48)
    assert run.code == 0
    assert fake_tasks.last["config"] == first["config"]
    np.testing.assert_array_equal(fake_tasks.last["sources"], [read_pixels(pictures.second)])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("change", ["changed", "removed"])
def test_a_changed_input_is_refused_and_nothing_written(
    command: str, change: str, made: Call, refused: Call, tmp_path: Path
) -> None:
    image, _ = made(command)
    name = "style.png" if command != "invert" else "content.png"
    victim = image.with_name(name)
    if change == "removed":
        victim.unlink()
    else:
        with Image.open(victim) as picture:
            pixels = np.array(picture)
        pixels[0, 0, 0] ^= 1
        Image.fromarray(pixels).save(victim)
    line = refused(command, "--from", image, "-o", tmp_path / "out.png")
    assert name in line
    assert not (tmp_path / "out.png").exists()


def test_a_changed_start_is_refused(made: Call, refused: Call, tmp_path: Path) -> None:
    image, _ = made("style")
    Image.new("RGB", (48, 36)).save(image.with_name("start.bmp"))
    assert "start.bmp" in refused("style", "--from", image, "-o", tmp_path / "out.png")


def test_an_input_of_the_same_pixels_is_the_same_input(
    made: Call, call: Call, tmp_path: Path
) -> None:
    image, _ = made("texture")
    source = image.with_name("style.png")
    with Image.open(source) as picture:
        picture.save(source, compress_level=0, dpi=(300, 300))
    assert call("texture", "--from", image, "-o", image.with_name("again.png")).code == 0
    assert image.with_name("again.png").read_bytes() == image.read_bytes()


def test_standard_input_is_read_again_or_named(
    call: Call, refused: Call, pictures: Any, fake_tasks: Any, tmp_path: Path, read_pixels: Call
) -> None:
    data = pictures.style.read_bytes()
    made, again, named = (tmp_path / f"{name}.png" for name in ("made", "again", "named"))
    assert call("texture", "-", "-o", made, "--size", 16, "--seed", 4, stdin=data).code == 0
    assert call("texture", "--from", made, "-o", again, stdin=data).code == 0
    assert again.read_bytes() == made.read_bytes()
    assert call("texture", pictures.style, "--from", made, "-o", named).code == 0
    assert same(fake_tasks.seen[0], fake_tasks.last)
    np.testing.assert_array_equal(read_pixels(named), read_pixels(made))
    other = pictures.second.read_bytes()
    refused("texture", "--from", made, "-o", tmp_path / "other.png", stdin=other)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_image_of_another_command_is_refused(
    command: str, made: Call, refused: Call, tmp_path: Path
) -> None:
    image, _ = made(command)
    for other in COMMANDS.keys() - {command}:
        line = refused(other, "--from", image, "-o", tmp_path / "out.png")
        assert f"made by rwgen {command}" in line
    assert not (tmp_path / "out.png").exists()


def test_from_does_not_replace_the_output(
    made: Call, call: Call, refused: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = made("texture")
    monkeypatch.chdir(image.parent)
    assert call("texture", "--from", image).code == 0
    again = image.with_name("style-texture.png")  # named after the input
    assert again.read_bytes() == image.read_bytes()
    assert str(again) in refused("texture", "--from", image, "-o", again)


def test_from_needs_all_images_or_none(made: Call, refused: Call, tmp_path: Path) -> None:
    image, _ = made("style")
    source = image.with_name("content.png")
    refused("style", source, "--from", image, "-o", tmp_path / "out.png")


DAMAGES: dict[str, Any] = {
    "another version": {"format_version": 2},
    "no version": {"format_version": None},
    "no command": {"command": None},
    "options in a list": {"options": [1]},
    "a number for inputs": {"inputs": 5},
    "a number for an input": {"inputs": [5]},
    "a number for a path": {"inputs": [{"role": "source", "path": 5}]},
    "an impossible path": {"inputs": [{"role": "source", "path": "a\0b"}]},
    "an impossible relative path": {
        "inputs": [{"role": "source", "path": "a", "relative": "a\0b"}]
    },
    "a number for a relative path": {"inputs": [{"role": "source", "path": "a", "relative": 5}]},
    "an origin": {"inputs": [{"role": "source", "path": "a", "origin": "b"}]},
    "an unknown key": {"inputs": [{"role": "source", "path": "a", "size": 3}]},
    "no inputs": {"inputs": []},
    "a recipe of words": {"recipe": "ranvgg19"},
    "a recipe that is wrong": {"recipe": {"schema_version": 1, "seed": -1}},
    "a word for a number": {"options": {"iterations": "many"}},
    "a list for a number": {"options": {"seed": [1]}},
    "a fraction for a number": {"options": {"seed": 1.5}},
    "a number out of range": {"options": {"source_size": 10**9}},
    "a number beyond floats": {"options": {"octaves": 10**400}},
    "a word for a choice": {"options": {"shift_features": "perhaps"}},
    "a number for a layer": {"options": {"layer": [5]}},
    "an object for a size": {"options": {"size": {"width": 5}}},
    "another weighting": {"options": {"weighting": "none"}},
}
TEXTS = {
    "no JSON": "{",
    "words": '"texture"',
    "a list": "[]",
    "nothing": "",
    "deep": "[" * 100_000,
    "a long number": '{"format_version": ' + "1" * 5000 + "}",
}


@pytest.mark.parametrize("damage", [*DAMAGES, *TEXTS])
def test_junk_in_the_settings_is_refused(
    damage: str, made: Call, refused: Call, tmp_path: Path
) -> None:
    image, _ = made("texture")
    with Image.open(image) as picture:
        settings = json.loads(picture.text["rwgen"]) | DAMAGES.get(damage, {})
        info = PngInfo()
        info.add_itxt("rwgen", TEXTS.get(damage, json.dumps(settings)))
        picture.save(tmp_path / "junk.png", pnginfo=info)
    refused("texture", "--from", tmp_path / "junk.png", "-o", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_settings_without_their_start_file_are_refused(
    made: Call, refused: Call, tmp_path: Path
) -> None:
    image, _ = made("style")
    with Image.open(image) as picture:
        settings = json.loads(picture.text["rwgen"])
        settings["inputs"] = settings["inputs"][:2]
        settings["options"]["init"] = str(tmp_path / "none.png")
        info = PngInfo()
        info.add_itxt("rwgen", json.dumps(settings))
        picture.save(tmp_path / "junk.png", pnginfo=info)
    assert "none.png" in refused("style", "--from", tmp_path / "junk.png", "-o", tmp_path / "o.png")


def test_the_settings_are_one_json_text_in_the_image(made: Call) -> None:
    image, _ = made("texture")
    with Image.open(image) as picture:
        settings = json.loads(picture.text["rwgen"])
    assert settings["command"] == "texture"
    assert settings["options"]["seed"] == 11
    assert settings["options"]["size"] == "20x16"
    assert settings["recipe"]["name"] == "ranpyramid"
    assert [item["path"] for item in settings["inputs"]] == [str(image.with_name("style.png"))]
