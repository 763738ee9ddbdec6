"""Texture synthesis over readings of the paper: biases, shifted Gram matrices, coarse to fine.

Quality is a number that no variant optimises: the relative distance of second moments under
networks of held-out seeds, `sum_l |G(x)-G(x0)|^2 / |G(x0)|^2`, as a median over seeds: `distance`
with the paper's Gram matrices, `centred` with covariances, which the mean features do not
dominate. White noise and a crop of the same texture stand beside it. `copy` is the correlation of
the result with the source at zero shift: a texture that copies its source pixel by pixel has 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from record import write_record
from sheet import Cell, write_sheet

from rwgen import (
    OptimizerConfig,
    TextureConfig,
    build_network,
    feature_extractor,
    load_recipe,
    read_image,
    resize_image,
    synthesize_texture,
    write_image,
)
from rwgen.image_search import white_noise
from rwgen.losses import gram_matrix
from rwgen.preprocess import network_input

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"shift_features": False, "octaves": 0},
    "bias": {"shift_features": False, "octaves": 0, "bias_stddev": 0.015},
    "shifted": {"shift_features": True, "octaves": 0},
    "coarse": {"shift_features": False, "octaves": 1},
    "default": {"shift_features": True, "octaves": 1},
}
JUDGES = (101, 102, 103)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    layers = TextureConfig().layers
    recipe = load_recipe(TextureConfig().network)
    judges = []
    for seed in JUDGES:
        other = dataclasses.replace(recipe, seed=seed, weights_sha256={})
        judges.append(feature_extractor(build_network(other, layers[-1]), layers))
    results, rows = [], []
    for path in options.sources:
        picture = read_image(path)
        side = min(picture.shape[:2])
        source = resize_image(picture[:side, :side], options.size, options.size)
        row: list[Cell] = [(path.stem, source)]
        for variant, seed in ((v, s) for v in VARIANTS for s in range(options.seeds)):
            image, seconds = _synthesize(options, path.stem, source, variant, seed)
            distances = _distances(judges, source, image)
            results.append(
                {
                    "source": path.name,
                    "variant": variant,
                    "seed": seed,
                    **distances,
                    "copy": _copy(source, image),
                    "seconds": seconds,
                }
            )
            print(results[-1], flush=True)
            if seed == 0:
                row.append((f"{variant} {distances['centred']:.1e}", image))
        noise = white_noise(0, source.shape)
        results.append(
            {
                "source": path.name,
                "variant": "white noise",
                **_distances(judges, source, noise),
            }
        )
        if side >= 2 * options.size:  # the floor: another part of the texture at the same scale
            half = side // 2
            parts = (picture[:half, :half], picture[half : 2 * half, half : 2 * half])
            first, second = (resize_image(part, options.size, options.size) for part in parts)
            results.append(
                {
                    "source": path.name,
                    "variant": "another crop",
                    **_distances(judges, first, second),
                }
            )
        rows.append(row)
        write_sheet(options.output / "sheet.jpg", rows)
    settings = {"size": options.size, "iterations": options.iterations, "judges": JUDGES}
    write_record(options.output / "record.json", {"settings": settings, "results": results})


def _synthesize(
    options: argparse.Namespace, name: str, source: NDArray[Any], variant: str, seed: int
) -> tuple[NDArray[Any], float]:
    image_path = options.output / f"{name}-{variant}-{seed}.png"
    seconds_path = image_path.with_suffix(".json")
    if not seconds_path.exists():
        values = dict(VARIANTS[variant])
        recipe = load_recipe(TextureConfig().network)
        bias = values.pop("bias_stddev", 0.0)
        if bias:
            recipe = dataclasses.replace(recipe, bias_stddev=bias, weights_sha256={})
        config = TextureConfig(
            seed=seed, optimizer=OptimizerConfig(max_iterations=options.iterations), **values
        )
        network = build_network(recipe, config.layers[-1])
        solution = synthesize_texture(source, network=network, config=config)
        write_image(image_path, solution.image)
        seconds_path.write_text(json.dumps(solution.seconds), encoding="utf-8")
    return read_image(image_path), json.loads(seconds_path.read_text(encoding="utf-8"))


def _distances(judges: list[Any], source: NDArray[Any], image: NDArray[Any]) -> dict[str, float]:
    totals: dict[str, list[float]] = {"distance": [], "centred": []}
    for judge in judges:
        targets, received = judge(network_input(source)), judge(network_input(image))
        for kind, values in totals.items():
            shares = []
            for layer, target in targets.items():
                pair = [np.asarray(value, np.float64) for value in (target, received[layer])]
                if kind == "centred":
                    pair = [value - value.mean(axis=(1, 2), keepdims=True) for value in pair]
                expected, found = (gram_matrix(tf.constant(value)).numpy() for value in pair)
                shares.append(np.sum((found - expected) ** 2) / np.sum(expected**2))
            values.append(float(np.sum(shares)))
    return {kind: float(np.median(values)) for kind, values in totals.items()}


def _copy(source: NDArray[Any], image: NDArray[Any]) -> float:
    first, second = (value.mean(axis=2).ravel() for value in (source, image))
    return float(np.corrcoef(first, second)[0, 1])


if __name__ == "__main__":
    main()
