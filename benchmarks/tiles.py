"""Measure the seams of textures that are synthesized as tiles, and of others.

Each texture is rolled by half, so that its border lies in the middle. Its seam is the mean absolute
difference of neighbors across the former border, and is reported in standard deviations of the same
over all other rows (columns), from their mean. `--sheet` shows each texture repeated twice in both
directions.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_record
from sheet import write_sheet

from rwgen import (
    OptimizerConfig,
    TextureConfig,
    build_network,
    read_image,
    resize_image,
    synthesize_texture,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+", help="files")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="record (.json)")
    options = parser.parse_args()
    config = TextureConfig(optimizer=OptimizerConfig(max_iterations=options.iterations))
    network = build_network(config.network, config.layers[-1])
    results, rows = [], []
    for path in options.sources:
        picture = read_image(path)
        side = min(picture.shape[:2])
        source = resize_image(picture[:side, :side], options.size, options.size)
        row = [(path.stem, source)]
        for tileable in (True, False):
            settings = dataclasses.replace(config, tileable=tileable)
            solution = synthesize_texture(source, network=network, config=settings)
            image = np.rint(solution.image).clip(0, 255)
            horizontal, vertical = seam(image, 1), seam(image, 0)
            results.append(
                {
                    "source": path.name,
                    "tileable": tileable,
                    "horizontal": horizontal,
                    "vertical": vertical,
                    "loss": solution.loss,
                    "seconds": solution.seconds,
                }
            )
            print(results[-1], flush=True)
            label = f"tileable: {tileable}, seams {horizontal:.1f} and {vertical:.1f}"
            row.append((label, np.tile(image, (2, 2, 1))))
        rows.append(row)
    if options.sheet is not None:
        write_sheet(options.sheet, rows)
    settings = {"size": options.size, "iterations": options.iterations}
    write_record(options.output, {"settings": settings, "results": results})


def seam(image: NDArray[Any], axis: int) -> float:
    """Difference across the border along an axis, in standard deviations of all others."""
    length = image.shape[axis]
    rolled = np.roll(image, length // 2, axis)
    change = np.abs(np.diff(rolled, axis=axis)).mean(axis=(1 - axis, 2))
    border = length // 2 - 1
    others = np.delete(change, border)
    return float((change[border] - others.mean()) / others.std())


if __name__ == "__main__":
    main()
