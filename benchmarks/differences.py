"""How far an inversion gets in float32 with and without propagated differences.

Both searches run in float32 from the same noise; their images are judged by the same objective in
float64, relative to its value at the start. A search in float64 shows what rounding costs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf
from record import write_record

from rwgen import (
    InversionConfig,
    OptimizerConfig,
    build_network,
    invert,
    load_recipe,
    read_image,
    resize_image,
)
from rwgen.metrics import psnr
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import DEFAULT_NETWORK
from rwgen.noise import white_noise
from rwgen.synthesis.objectives import inversion_objective

VARIANTS = {
    "subtracted": ("float32", False),
    "propagated": ("float32", True),
    "float64": ("float64", False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--layers", nargs="+", default=["conv3_1", "conv5_1"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    image = resize_image(read_image(options.image), options.size, options.size)
    recipe = load_recipe(DEFAULT_NETWORK)
    results = []
    for layer in options.layers:
        networks = {
            dtype: build_network(recipe, layer, dtype=dtype) for dtype in ("float32", "float64")
        }
        judge = inversion_objective(networks["float64"], network_input(image, "float64"), (layer,))

        def loss(pixels: np.ndarray, judge: object = judge) -> float:
            return float(judge(tf.constant(network_input(pixels, "float64")))["content"])

        for seed in range(options.seeds):
            start = loss(white_noise(seed, image.shape))
            for name, (dtype, propagate) in VARIANTS.items():
                config = InversionConfig(
                    whiten_features=False,
                    seed=seed,
                    propagate_differences=propagate,
                    optimizer=OptimizerConfig(max_iterations=options.iterations),
                )
                solution = invert(image, layer, network=networks[dtype], config=config)
                pixels = np.rint(solution.image).clip(0, 255).astype(np.uint8)
                row = {
                    "layer": layer,
                    "seed": seed,
                    "variant": name,
                    "loss": loss(solution.image) / start,
                    "psnr": psnr(image, pixels),
                    "iterations": solution.iterations,
                    "evaluations": solution.evaluations,
                    "stop_reason": solution.stop_reason,
                }
                results.append(row)
                print(row, flush=True)
    settings = {"size": options.size, "iterations": options.iterations, "seeds": options.seeds}
    write_record(options.output, {"settings": settings, "results": results})


if __name__ == "__main__":
    main()
