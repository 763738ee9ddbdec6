"""Compare texture synthesis for readings of the paper, and for scales of the biases.

Every result is judged by metrics that no variant optimizes (`rwgen.metrics`):

- `covariances` and `grams`: relative distances of Gram matrices under networks with held-out
  seeds, with and without shifts;
- `patches`: sliced Wasserstein distance of patches, at each scale;
- `spectrum`: distance of power spectra in decibels;
- `copies`: share of neighboring patches that are copied together.

White noise and, where the source has room for two, another crop of the same texture are judged as
well.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_record
from sheet import Cell, write_sheet

from rwgen import (
    OptimizerConfig,
    Recipe,
    TextureConfig,
    build_network,
    load_recipe,
    metrics,
    read_image,
    resize_image,
    synthesize_texture,
    write_image,
)
from rwgen.metrics.held_out import HeldOutNetworks
from rwgen.network.recipe import ZERO_BIAS_NETWORK
from rwgen.noise import white_noise

READINGS: dict[str, dict[str, Any]] = {
    "paper": {"shift_features": False, "whiten_gram": False, "octaves": 0},
    "bias": {
        "shift_features": False,
        "whiten_gram": False,
        "octaves": 0,
        "recipe": Recipe(),
    },
    "shifted": {"whiten_gram": False, "octaves": 0},
    "coarse": {"shift_features": False, "whiten_gram": False, "octaves": 1},
    "shifted coarse": {"whiten_gram": False, "octaves": 1},
    "default": {"octaves": 1},
}
BIASES: dict[str, dict[str, Any]] = {
    "biases 0": {},
    "biases 0.0006": {"recipe": Recipe(bias_stddev=0.0006)},
    "biases 0.0045": {"recipe": Recipe(bias_stddev=0.0045)},
    "biases 0.015": {"recipe": Recipe()},
    "biases 0.15": {"recipe": Recipe(bias_stddev=0.15)},
    "half-normal 0.045": {"recipe": Recipe(bias_stddev=0.045, bias_distribution="half_normal")},
}
SETS = {"readings": READINGS, "biases": BIASES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+", help="files, or names in scikit-image")
    parser.add_argument("--variants", choices=SETS, default="readings")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    variants = SETS[options.variants]
    networks = HeldOutNetworks()
    results, rows = [], []
    for path in options.sources:
        picture = _load(path)
        side = min(picture.shape[:2])
        source = resize_image(picture[:side, :side], options.size, options.size)
        row: list[Cell] = [(path.stem, source)]
        for variant, seed in ((v, s) for v in variants for s in range(options.seeds)):
            image, seconds = _synthesize(options, source, path.stem, variant, seed)
            judged = _judge(networks, source, image)
            names = {"source": path.name, "variant": variant, "seed": seed}
            results.append({**names, **judged, "seconds": seconds})
            print(results[-1], flush=True)
            if seed == 0:
                row.append((f"{variant}: {judged['covariances']:.1e}", image))
        noise = _judge(networks, source, white_noise(0, source.shape))
        results.append({"source": path.name, "variant": "white noise", **noise})
        if side >= 2 * options.size:  # lower bound: another crop
            half = side // 2
            parts = (picture[:half, :half], picture[half : 2 * half, half : 2 * half])
            first, second = (resize_image(part, options.size, options.size) for part in parts)
            floor = _judge(networks, first, second)
            results.append({"source": path.name, "variant": "another crop", **floor})
        rows.append(row)
        write_sheet(options.output / "sheet.jpg", rows)
    settings = {"size": options.size, "iterations": options.iterations}
    write_record(options.output / "record.json", {"settings": settings, "results": results})


def _load(path: Path) -> NDArray[np.float32]:
    if path.suffix:
        return read_image(path)
    from skimage import data

    grey = np.asarray(getattr(data, str(path))(), np.float32)
    return np.repeat(grey[..., np.newaxis], 3, axis=2) if grey.ndim == 2 else grey


def _synthesize(
    options: argparse.Namespace, source: NDArray[Any], name: str, variant: str, seed: int
) -> tuple[NDArray[Any], float]:
    """Synthesize an image, or load the one that an earlier run made."""
    image_path = options.output / f"{name}-{variant}-{seed}.png"
    seconds_path = image_path.with_suffix(".json")
    if not seconds_path.exists():
        values = dict(SETS[options.variants][variant])
        recipe = values.pop("recipe", load_recipe(ZERO_BIAS_NETWORK))
        optimizer = OptimizerConfig(max_iterations=options.iterations)
        config = TextureConfig(seed=seed, optimizer=optimizer, **values)
        network = build_network(recipe, config.layers[-1])
        solution = synthesize_texture(source, network=network, config=config)
        write_image(image_path, solution.image)
        seconds_path.write_text(json.dumps(solution.seconds), encoding="utf-8")
    return read_image(image_path), json.loads(seconds_path.read_text(encoding="utf-8"))


def _judge(networks: HeldOutNetworks, source: NDArray[Any], image: NDArray[Any]) -> dict[str, Any]:
    return {
        "covariances": networks.gram_distance(image, source),
        "grams": networks.gram_distance(image, source, shift_features=False),
        "patches": metrics.sliced_wasserstein(image, source),
        "spectrum": metrics.power_spectrum_distance(image, source),
        "copies": metrics.copy_rate(image, source),
    }


if __name__ == "__main__":
    main()
