"""A ladder of pictures, from the literal paper to the defaults, a few changes a step, and judged.

Each picture is made by running `BASE` with the options of a variant of `judged.py`. The sheet goes
into `docs/images/`; a trained judge (`judge.py`) rates each picture.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from judge import Judge
from judged import VARIANTS
from pictures import FOLDER, ROOT, run
from PIL import Image
from record import write_record
from sheet import write_sheet

from rwgen import read_image

BASE = "rwgen style examples/astronaut.jpg examples/village-street-in-auvers.jpg --size 256"
STEPS = ("paper", "before", "whitened", "conv1_2", "narrow", "colors", "from-content", "now")
COLUMNS = 4
QUALITY = 85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.pictures.mkdir(parents=True, exist_ok=True)
    runs = []
    for step in STEPS:
        arguments = [*shlex.split(BASE), *VARIANTS["style"][step], "--seed", "0"]
        command = shlex.join([*arguments, "-o", f"{step}.png"])
        print(command, flush=True)
        runs.append({"step": step, **run(command, options.pictures)})
    photo, painting = (Image.open(ROOT / word) for word in shlex.split(BASE)[2:4])
    judge = Judge()
    for made in runs:
        path = options.pictures / f"{made['step']}.png"
        made |= judge.style(Image.open(path), photo, painting)
    write_record(options.output, {"runs": runs})
    cells = [
        (f"{number}. {step}", read_image(options.pictures / f"{step}.png"))
        for number, step in enumerate(STEPS, start=1)
    ]
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    write_sheet(FOLDER / "ladder.jpg", rows, QUALITY)


if __name__ == "__main__":
    main()
