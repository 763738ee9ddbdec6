"""Feature inversion over the standard deviation of the biases: the table behind the default.

For each layer, distribution and stddev of the biases, and seed of the weights, a photo is inverted
from white noise as in the paper: pixels at one size, features as they are. PSNR and SSIM of the
clipped result.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from record import write_record
from sheet import Cell, write_sheet

from rwgen import (
    InversionConfig,
    OptimizerConfig,
    Recipe,
    build_network,
    invert,
    read_image,
    resize_image,
)
from rwgen.metrics import psnr, ssim
from rwgen.network.recipe import BiasDistribution


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--layers", nargs="+", default=["conv3_1", "conv5_1", "pool5"])
    parser.add_argument(
        "--stddevs", type=float, nargs="+", default=[0.0, 0.00006, 0.0006, 0.015, 0.15]
    )
    parser.add_argument("--half-normal", type=float, nargs="*", default=[0.015, 0.045, 0.15])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    picture = read_image(options.image)
    side = min(picture.shape[:2])
    image = resize_image(picture[:side, :side], options.size, options.size)
    optimizer = OptimizerConfig(max_iterations=options.iterations)
    results = []
    rows: list[list[Cell]] = []
    for layer in options.layers:
        row: list[Cell] = [(layer, image)]
        biases: list[tuple[BiasDistribution, float]] = [
            *(("normal", stddev) for stddev in options.stddevs),
            *(("half_normal", stddev) for stddev in options.half_normal),
        ]
        for (kind, stddev), seed in itertools.product(biases, range(options.seeds)):
            recipe = Recipe(bias_stddev=stddev, bias_distribution=kind, seed=seed)
            network = build_network(recipe, layer)
            config = InversionConfig(parameterization="pixel", octaves=0, optimizer=optimizer)
            solution = invert(image, layer, network=network, config=config)
            pixels = np.rint(solution.image).clip(0, 255)
            results.append(
                {
                    "layer": layer,
                    "bias_distribution": kind,
                    "bias_stddev": stddev,
                    "seed": seed,
                    "psnr": psnr(image, pixels),
                    "ssim": ssim(image, pixels),
                    "evaluations": solution.evaluations,
                    "stop_reason": solution.stop_reason,
                }
            )
            print(results[-1], flush=True)
            if seed == 0:
                row.append((f"{kind} {stddev:g}: {results[-1]['psnr']:.1f} dB", pixels))
        rows.append(row)
        write_sheet(options.output / "sheet.jpg", rows)
    settings = {"size": options.size, "iterations": options.iterations, "image": options.image.name}
    write_record(options.output / "record.json", {"settings": settings, "results": results})


if __name__ == "__main__":
    main()
