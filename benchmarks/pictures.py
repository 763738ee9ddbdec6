"""Make the pictures of the README again, with the README's own commands."""

from __future__ import annotations

import shlex
from pathlib import Path

from rwgen import read_image, resize_image, write_image
from rwgen.cli.main import main as rwgen_main
from rwgen.images import fit_longest_side

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "images"
SIZE = 256

TASKS = ("rwgen style ", "rwgen texture ", "rwgen invert ")


def commands() -> dict[str, list[str]]:
    """The README's commands by the name of the image that they make."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    words = [shlex.split(line) for line in lines if line.startswith(TASKS)]
    return {Path(line[line.index("-o") + 1]).stem: line[1:] for line in words}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "coffee", "brick"):
        pixels = read_image(ROOT / "examples" / f"{name}.jpg")
        size = fit_longest_side(*pixels.shape[:2], SIZE)
        write_image(FOLDER / f"{name}.jpg", resize_image(pixels, *size))
    for name, arguments in commands().items():
        target = FOLDER / f"{name}.jpg"
        made = [str(target) if word == f"{name}.png" else word for word in arguments]
        made = [str(ROOT / word) if word.startswith("examples/") else word for word in made]
        if code := rwgen_main(made):
            raise SystemExit(code)


if __name__ == "__main__":
    main()
