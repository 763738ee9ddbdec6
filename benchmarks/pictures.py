"""Make the pictures of the README and the gallery, and the gallery's page.

Each picture is made by running its command as the page shows it (`gallery.py`). The record keeps
the command and the output of each run; a picture whose command is unchanged is not made again.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gallery import PICTURES, SHOWN_SIZE, SOURCES, page
from PIL import Image
from record import surroundings

from rwgen import read_image, resize_image
from rwgen.files import atomic_write
from rwgen.images import fit_longest_side

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "gallery.md"
RECORD = ROOT / "benchmarks" / "results" / "pictures.json"
QUALITY = 85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="pictures to make; default: all")
    parser.add_argument("--force", action="store_true", help="make unchanged pictures too")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*PICTURES}):
        parser.error(f"expected names of {', '.join(PICTURES)}. Received: {', '.join(unknown)}")
    show_sources()
    runs = recorded_runs()
    for name in options.names or PICTURES:
        if options.force or not is_made(name, runs):
            print(PICTURES[name].command, flush=True)
            runs[name] = make(name)
            text = json.dumps({key: runs[key] for key in PICTURES if key in runs}, indent=1)
            atomic_write(RECORD, f"{text}\n".encode())
    missing = [name for name in PICTURES if not is_made(name, runs)]
    if missing:
        print(f"the page was not updated; these pictures are missing: {', '.join(missing)}")
    else:
        atomic_write(PAGE, page(runs, QUALITY).encode())


def recorded_runs() -> dict[str, dict[str, Any]]:
    """Return command, output and environment of each picture's run, by its name."""
    if not RECORD.exists():
        return {}
    runs: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return runs


def is_made(name: str, runs: dict[str, dict[str, Any]]) -> bool:
    """Return whether a picture exists and was made by its command in the gallery."""
    made = name in runs and runs[name]["command"] == PICTURES[name].command
    return made and (FOLDER / f"{name}.jpg").exists()


def show_sources() -> None:
    """Write the sample images at the size of the results."""
    for name in SOURCES:
        target = FOLDER / f"{name}.jpg"
        if not target.exists():
            pixels = read_image(ROOT / "examples" / f"{name}.jpg")
            size = fit_longest_side(*pixels.shape[:2], SHOWN_SIZE)
            save(target, Image.fromarray(resize_image(pixels, *size).round().astype("uint8")))


def make(name: str) -> dict[str, Any]:
    """Run a picture's command in a temporary folder and return its record."""
    with tempfile.TemporaryDirectory() as folder:
        record = run(PICTURES[name].command, Path(folder))
        with Image.open(Path(folder) / f"{name}.png") as image:
            save(FOLDER / f"{name}.jpg", image.convert("RGB"))
    return record


def run(command: str, folder: Path) -> dict[str, Any]:
    """Run a command in a folder that has the examples, and return it with what it reported."""
    program, *words = shlex.split(command)
    if program != "rwgen":
        raise ValueError(f"expected a command of rwgen. Received: {command}")
    quiet = [word for word in ("--json", "--quiet") if word not in words]
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(ROOT / "examples")
    result = subprocess.run(
        [sys.executable, "-m", "rwgen.cli.main", *words, *quiet],
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
    )
    return {"command": command, **json.loads(result.stdout), "surroundings": surroundings()}


def save(path: Path, image: Image.Image) -> None:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=QUALITY, optimize=True)
    atomic_write(path, data.getvalue())


if __name__ == "__main__":
    main()
