"""Make the contact sheets of `docs/guide/settings.md`: one picture, each time with other settings.

Each picture is made by running `BASE` with the options that its label shows. Pictures stay in
`--pictures`; one whose command is unchanged is not made again.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from pictures import FOLDER, ROOT, run
from sheet import write_sheet

from rwgen import read_image
from rwgen.files import atomic_write

RECORD = ROOT / "benchmarks" / "results" / "settings.json"
QUALITY = 80

BASE = "rwgen style examples/astronaut.jpg examples/village-street-in-auvers.jpg --size 256"
"""The command that makes the picture with default settings, without the name of its output."""

LAYERS = "conv1_1,conv2_1,conv3_1,conv4_1"
"""Style layers by default."""

SHEETS: dict[str, tuple[str, ...]] = {
    "content-weight": (
        "--content-weight 5",
        "--content-weight 15",
        "",
        "--content-weight 150",
        "--content-weight 500",
        "--content-weight 2000",
    ),
    "colors": (
        "",
        "--colors mixed",
        "--colors palette",
        "--colors content",
        "--colors content-after",
    ),
    "presets": ("--preset fine", "", "--preset bold", "--preset paper"),
    "style-scale": ("--style-scale 0.5", "", "--style-scale 2"),
    "style-layers": (
        "--style-layer conv1_1",
        "--style-layer conv1_1,conv2_1",
        "",
        f"--style-layer {LAYERS},conv5_1",
        "--style-layer conv2_1,conv3_1,conv4_1",
        "--style-layer conv3_1,conv4_1",
    ),
    "content-layers": (
        "--content-layer conv1_1",
        "",
        "--content-layer conv2_1",
        "--content-layer conv3_1",
        "--content-layer conv4_1",
    ),
    "octaves": ("", "--octaves 1", "--octaves 2"),
    "tv-weight": ("--tv-weight 0", "", "--tv-weight 10000"),
    "iterations": (
        "--iterations 15",
        "",
        "--iterations 200",
        "--init noise --iterations 200",
    ),
    "networks": (
        "",
        "--network-seed 1",
        "--network ranvgg19-half-width",
        "--network ranvgg19-zero-bias",
        "--network ranvgg19",
    ),
}
"""Options of each picture, by the name of their sheet."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="sheets to make; default: all")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the pictures")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*SHEETS}):
        parser.error(f"expected names of {', '.join(SHEETS)}. Received: {', '.join(unknown)}")
    options.pictures.mkdir(parents=True, exist_ok=True)
    for name in options.names or SHEETS:
        for extra in SHEETS[name]:
            make(extra, options.pictures)
        show(name, options.pictures)


def recorded_runs() -> dict[str, dict[str, Any]]:
    """Return command and output of each picture's run, by the name of the picture."""
    if not RECORD.exists():
        return {}
    runs: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return runs


def picture_name(extra: str) -> str:
    """Return the name of the picture with these options."""
    return re.sub(r"[^a-z0-9.]+", "-", extra).strip("-") or "default"


def command(extra: str) -> str:
    """Return the command of the picture with these options."""
    return " ".join(filter(None, (BASE, extra, f"-o {picture_name(extra)}.png")))


def make(extra: str, folder: Path) -> None:
    """Make a picture, unless it was made by the same command, and record its run."""
    runs, name = recorded_runs(), picture_name(extra)
    made = name in runs and runs[name]["command"] == command(extra)
    if not (made and (folder / f"{name}.png").exists()):
        print(command(extra), flush=True)
        (folder / f"{name}.png").unlink(missing_ok=True)
        runs[name] = run(command(extra), folder)
        names = [picture_name(each) for sheet in SHEETS.values() for each in sheet]
        kept = {name: runs[name] for name in dict.fromkeys(names) if name in runs}
        atomic_write(RECORD, f"{json.dumps(kept, indent=1)}\n".encode())


def show(name: str, folder: Path) -> None:
    """Write a sheet of pictures that were made."""
    cells = [
        (extra or "default", read_image(folder / f"{picture_name(extra)}.png"))
        for extra in SHEETS[name]
    ]
    columns = 2 if len(cells) == 4 else 3
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    write_sheet(FOLDER / f"settings-{name}.jpg", rows, QUALITY)


if __name__ == "__main__":
    main()
