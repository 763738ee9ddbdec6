"""The page of settings agrees with its sheets, and with the commands that make them."""

import re
import sys

import numpy as np
import pytest
from documents import ROOT, blocks
from PIL import Image

from rwgen.cli.main import main

PAGE = (ROOT / "docs" / "guide" / "settings.md").read_text(encoding="utf-8")


@pytest.fixture
def settings(monkeypatch):
    """The script that makes the sheets, imported as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__("settings")


def test_the_page_shows_every_sheet_once_and_the_command_of_all(settings):
    assert re.findall(r"\(\.\./images/settings-([\w-]+)\.jpg\)", PAGE) == [*settings.SHEETS]
    assert settings.BASE in blocks("sh", PAGE)[0]


def test_every_picture_of_the_sheets_was_made_by_its_command(settings):
    labels = {label for sheet in settings.SHEETS.values() for label in sheet}
    commands = {settings.picture_name(label): settings.command(label) for label in labels}
    runs = settings.recorded_runs()
    assert {name: run["command"] for name, run in runs.items()} == commands


def test_sheets_are_small_and_have_a_place_for_every_picture(settings):
    runs = settings.recorded_runs()
    for name, sheet in settings.SHEETS.items():
        path = settings.FOLDER / f"settings-{name}.jpg"
        assert path.stat().st_size < 150_000
        made = [runs[settings.picture_name(label)] for label in sheet]
        ((width, height),) = {(run["width"], run["height"]) for run in made}
        with Image.open(path) as image:
            places = (image.width // width) * (image.height // height)
        assert places in range(len(sheet), len(sheet) + 2)


def test_every_option_of_the_page_and_its_sheets_exists(settings, capsys):
    assert main(["style", "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+[a-z]", capsys.readouterr().out))
    labels = " ".join(label for sheet in settings.SHEETS.values() for label in sheet)
    named = set(re.findall(r"--[a-z-]+[a-z]", labels + "".join(re.findall("`[^`\n]+`", PAGE))))
    assert named <= known


def test_the_script_makes_a_sheet_and_only_what_is_missing(settings, monkeypatch, tmp_path):
    made = []

    def run(command, folder):
        """Write a picture as bright as the content weight of its command."""
        made.append(command)
        bright = int((re.findall(r"weight (\d+)", command) or [0])[0])
        pixels = np.full((8, 10, 3), bright, np.uint8)
        Image.fromarray(pixels).save(folder / command.split("-o ")[1])
        return {"command": command}

    sheet = ("--content-weight 50", "", "--content-weight 200", "--content-weight 250")
    monkeypatch.setattr(settings, "SHEETS", {"some": sheet})
    monkeypatch.setattr(settings, "FOLDER", tmp_path)
    monkeypatch.setattr(settings, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(settings, "run", run)
    monkeypatch.setattr(sys, "argv", ["settings.py", "--pictures", str(tmp_path / "pictures")])
    settings.main()
    assert made == [settings.command(each) for each in sheet]
    assert made[1] == f"{settings.BASE} -o default.png"
    with Image.open(tmp_path / "settings-some.jpg") as image:
        assert image.size == (2 * (10 + 4), 2 * (8 + 14 + 4))
        found = [image.convert("L").getpixel(place) for place in ((5, 18), (19, 18), (5, 44))]
    assert found == pytest.approx([50, 0, 200], abs=12)
    (tmp_path / "pictures" / "default.png").unlink()
    settings.main()
    assert made[len(sheet) :] == [settings.command("")]
