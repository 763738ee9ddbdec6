"""Make contact sheets of style transfer for ratios of content to style and readings of eq. 9.

Each image is written to a separate file, and an interrupted run resumes after the last one.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from record import write_record
from sheet import Cell, write_sheet

from rwgen import (
    OptimizerConfig,
    StyleConfig,
    build_network,
    load_recipe,
    metrics,
    read_image,
    resize_image,
    transfer_style,
    write_image,
)
from rwgen.images import fit_longest_side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contents", type=Path, nargs="+", required=True)
    parser.add_argument("--styles", type=Path, nargs="+", required=True)
    parser.add_argument("--content-weights", type=float, nargs="+", required=True)
    parser.add_argument("--tv-weights", type=float, nargs="+", default=[StyleConfig().tv_weight])
    parser.add_argument("--plain", action="store_true", help="the paper's Gram matrices, one size")
    parser.add_argument("--weighting", default="magnitude")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    config = StyleConfig()
    network = build_network(load_recipe(config.network), config.style_layers[-1])
    rows: list[list[Cell]] = []
    results: list[dict[str, Any]] = []
    for content_path, style_path in itertools.product(options.contents, options.styles):
        content, style = (_load(path, options.size) for path in (content_path, style_path))
        row: list[Cell] = [(content_path.stem, content), (style_path.stem, style)]
        for alpha, gamma in itertools.product(options.content_weights, options.tv_weights):
            name = f"{content_path.stem}-{style_path.stem}-{alpha:g}-1-{gamma:g}"
            image_path = options.output / f"{name}.png"
            values_path = options.output / f"{name}.json"
            if not values_path.exists():
                chosen = StyleConfig(
                    content_weight=alpha,
                    tv_weight=gamma,
                    weighting=options.weighting,
                    shift_features=not options.plain,
                    whiten_gram=not options.plain,
                    colors="mixed" if options.plain else "style",
                    octaves=0 if options.plain else None,
                    seed=options.seed,
                    optimizer=OptimizerConfig(max_iterations=options.iterations),
                )
                solution = transfer_style(content, [style], network=network, config=chosen)
                pixels = np.rint(solution.image).clip(0, 255)
                write_image(image_path, pixels)
                values = {
                    "content": content_path.name,
                    "style": style_path.name,
                    "weights": [alpha, 1, gamma],
                    "terms": solution.terms,
                    "evaluations": solution.evaluations,
                    "seconds": solution.seconds,
                    "ssim_to_content": metrics.ssim(content, pixels),
                }
                values_path.write_text(json.dumps(values), encoding="utf-8")
                print(name, values, flush=True)
            results.append(json.loads(values_path.read_text(encoding="utf-8")))
            row.append((f"{alpha:g}:1:{gamma:g}", read_image(image_path)))
        rows.append(row)
        write_sheet(options.output / "sheet.jpg", rows)
    settings = {key: value for key, value in vars(options).items() if not _is_path(value)}
    write_record(options.output / "record.json", {"settings": settings, "results": results})


def _load(path: Path, size: int) -> Any:
    pixels = read_image(path)
    return resize_image(pixels, *fit_longest_side(*pixels.shape[:2], size))


def _is_path(value: object) -> bool:
    return isinstance(value, Path) or (isinstance(value, list) and isinstance(value[0], Path))


if __name__ == "__main__":
    main()
