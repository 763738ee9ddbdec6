"""Textures and a style next to the baselines of `rwgen evaluate`: numbers and a contact sheet.

Each texture is made from one quarter of a photo; the opposite quarter, from which nothing was made,
is another crop of the same texture.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_record
from sheet import write_sheet

from rwgen import (
    OptimizerConfig,
    StyleConfig,
    TextureConfig,
    read_image,
    resize_image,
    synthesize_texture,
    transfer_style,
    write_image,
)
from rwgen.baselines import style_baselines, texture_baselines
from rwgen.evaluation.table import Row, evaluate_style, evaluate_texture
from rwgen.images import fit_longest_side

EXAMPLES = Path(__file__).parent.parent / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--textures", nargs="+", default=["brick", "gravel"])
    parser.add_argument("--content", default="astronaut")
    parser.add_argument("--style", default="coffee")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    optimizer = OptimizerConfig(max_iterations=options.iterations)
    tables, sheet = {}, []
    for name in options.textures:
        photo = read_image(EXAMPLES / f"{name}.jpg")
        half = min(photo.shape[:2]) // 2
        quarters = (photo[:half, :half], photo[half : 2 * half, half : 2 * half])
        source, other = (resize_image(x, options.size, options.size) for x in quarters)
        solution = synthesize_texture(source, config=TextureConfig(optimizer=optimizer))
        result = _kept(options.output / f"{name}.png", solution.image)
        tables[name] = _printed(name, evaluate_texture({"result": result}, source, held_out=other))
        sheet.append(
            [("source", source), ("result", result), *texture_baselines(source, other).items()]
        )
    content, style = (
        resize_image(photo, *fit_longest_side(*photo.shape[:2], options.size))
        for photo in (read_image(EXAMPLES / f"{x}.jpg") for x in (options.content, options.style))
    )
    solution = transfer_style(content, [style], config=StyleConfig(optimizer=optimizer))
    name = f"{options.content} in the style of {options.style}"
    result = _kept(options.output / "style.png", solution.image)
    tables[name] = _printed(name, evaluate_style({"result": result}, content, [style]))
    sheet.append([("result", result), *style_baselines(content, [style]).items()])
    write_sheet(options.output / "sheet.jpg", sheet)
    settings = {"size": options.size, "iterations": options.iterations}
    write_record(options.output / "record.json", {"settings": settings, "tables": tables})


def _kept(path: Path, image: NDArray[Any]) -> NDArray[np.float32]:
    """The image as read back from its file: rounded to 8 bits."""
    write_image(path, image)
    return read_image(path)


def _printed(name: str, rows: Iterable[Row]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        found.append({"name": row.name, **asdict(row.scores)})
        print(name, found[-1], flush=True)
    return found


if __name__ == "__main__":
    main()
