"""The gallery's page agrees with its pictures and with the commands that make them."""

import json
import re
import shlex

import numpy as np
import pytest
from documents import ROOT, blocks
from PIL import Image

from rwgen.cli.main import main

PAGE = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def pictures(monkeypatch):
    """The script that makes the pictures, imported as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__("pictures")


@pytest.fixture
def gallery(pictures):
    return __import__("gallery")


def test_the_page_is_what_the_script_writes(pictures, gallery):
    assert gallery.page(pictures.recorded_runs(), pictures.QUALITY) == PAGE


def test_every_command_on_the_page_made_its_picture(pictures, gallery):
    runs = pictures.recorded_runs()
    assert [command.strip() for command in blocks("sh", PAGE)] == [
        runs[name]["command"] for name in gallery.PICTURES
    ]
    assert all(pictures.is_made(name, runs) for name in gallery.PICTURES)


def test_a_changed_command_or_a_lost_picture_is_made_again(
    pictures, gallery, monkeypatch, tmp_path
):
    runs = pictures.recorded_runs()
    assert not pictures.is_made("style", {**runs, "style": {"command": "rwgen style another"}})
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    assert not pictures.is_made("style", runs)


def test_pictures_have_the_size_that_their_run_reported_and_are_small(pictures, gallery):
    total = 0
    for name, run in pictures.recorded_runs().items():
        path = pictures.FOLDER / f"{name}.jpg"
        with Image.open(path) as image:
            assert image.size == (run["width"], run["height"])
            assert max(image.size) <= 512
            assert np.asarray(image).std() > 10
        total += path.stat().st_size
    total += sum((pictures.FOLDER / f"{name}.jpg").stat().st_size for name in gallery.SOURCES)
    assert total < 700_000


def test_pictures_of_the_readme_are_made_by_the_readmes_commands(gallery):
    own = {line for block in blocks("sh", README) for line in block.splitlines()}
    shown = [name for name in re.findall(r"docs/images/([\w-]+)\.jpg", README)]
    made = [name for name in shown if name not in gallery.SOURCES]
    assert made == ["style", "texture", "invert"]
    assert {gallery.PICTURES[name].command for name in made} <= own


def test_every_option_in_the_gallery_exists(gallery, capsys):
    for picture in gallery.PICTURES.values():
        words = shlex.split(picture.command)
        assert main([words[1], "--help"]) == 0
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        given = {word.replace("--no-", "--") for word in words if word.startswith("--")}
        assert given <= {word.replace("--no-", "--") for word in known}


def test_the_script_makes_a_picture_with_its_own_command(pictures, gallery, monkeypatch, tmp_path):
    command = "rwgen invert examples/brick.jpg --layer conv1_1 --size 32 --iterations 1 -o a.png"
    monkeypatch.setitem(gallery.PICTURES, "a", gallery.Picture("A", command, ""))
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    run = pictures.make("a")
    assert (run["command"], run["width"], run["iterations"]) == (command, 32, 1)
    assert json.loads(json.dumps(run)) == run
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.size == (32, 32)
