"""Whether rwgen's own numbers order pictures as a trained judge does: rank correlations.

For each pair of a scene and a painting, and for each texture, many pictures are made with other
networks, weights, sizes and numbers of iterations (`STYLES`, `TEXTURES`). The judge
(benchmarks/judge.py) and rwgen's numbers rate each; a rank correlation compares the two orders.
Numbers are chosen on the pairs and textures of `--choose` and confirmed on those of `--confirm`.

`--peers FILE` adds pictures of other programs or of other runs: a JSON list of objects with
`result` (a file beside FILE, or in the folder `peer` there), `by` and `of` (names of the images).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from judge import Judge
from judged import find
from numpy.typing import NDArray
from PIL import Image
from record import write_record
from scipy.stats import spearmanr

from rwgen import (
    StyleConfig,
    TextureConfig,
    build_network,
    feature_extractor,
    load_recipe,
    synthesize_texture,
    transfer_style,
)
from rwgen.evaluation import Row, evaluate_style, evaluate_texture, scale_styles, scale_textures
from rwgen.images import as_pixels, fit_longest_side, resize_image
from rwgen.metrics.config import HELD_OUT_SEEDS
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import PYRAMID_NETWORK, ZERO_BIAS_NETWORK
from rwgen.optimize.config import OptimizerConfig
from rwgen.synthesis.whitening import gram_whitening

CONTENT_NUMBERS = ("content", "ssim")

HALF = {"network": "ranvgg19-half-width"}
FULL = {"network": "ranvgg19-zero-bias"}
OLD_CONTENT = {"content_layers": ("conv2_2",)}
WIDE_CONTENT = {"content_layers": ("conv1_2", "conv2_2")}

STYLES: dict[str, dict[str, Any]] = {
    "now": {},
    "seed-1": {"network_seed": 1},
    **{f"content-{weight}": {"content_weight": float(weight)} for weight in (0, 10, 150, 500)},
    **{f"iterations-{count}": {"iterations": count} for count in (10, 20, 120)},
    "one-size": {"octaves": 0},
    "bold": dict(StyleConfig.PRESETS["bold"]),
    "mixed": {"colors": "mixed"},
    "smooth": {"tv_weight": 20_000.0},
    "magnified": {"style_scale": (0.5,)},
    "not-whitened": {"whiten_gram": False},
    "half": {**HALF, **WIDE_CONTENT},
    "half-not-whitened": {**HALF, **WIDE_CONTENT, "whiten_gram": False},
    "half-noise": {**HALF, **WIDE_CONTENT, "init": "noise", "colors": "mixed"},
    "full-not-whitened": {**FULL, **OLD_CONTENT, "whiten_gram": False, "iterations": 30},
    "paper": {**StyleConfig.PAPER, "iterations": 40},
}
"""Settings of each picture of a pair; `network_seed` and `iterations` stand for what they say."""

TEXTURES: dict[str, dict[str, Any]] = {
    "now": {"iterations": 100},
    "seed-1": {"network_seed": 1, "iterations": 100},
    **{f"iterations-{count}": {"iterations": count} for count in (10, 20, 40)},
    "one-size": {"octaves": 0, "iterations": 60},
    "three-sizes": {"octaves": 3, "iterations": 60},
    "shallow": {"layers": ("conv1_1", "conv2_1"), "iterations": 60},
    "shallower": {"layers": ("conv1_1",), "iterations": 60},
    "not-whitened": {"whiten_gram": False, "iterations": 60},
    "half": {**HALF, "iterations": 60},
    "half-not-whitened": {**HALF, "whiten_gram": False, "iterations": 60},
    "full-not-whitened": {**FULL, "whiten_gram": False, "iterations": 30},
    "paper": {**TextureConfig.PAPER, "iterations": 40},
}
"""The same for each texture."""


def make(options: argparse.Namespace, names: list[str], variant: str) -> Path | None:
    """Make one picture, unless the folder holds it or none is to be made."""
    stems = "-in-".join(Path(name).stem for name in names)
    path = options.folder / f"{stems}-{variant}-{options.size}.png"
    if path.exists() or options.make_none:
        return path if path.exists() else None
    settings = dict((STYLES if len(names) == 2 else TEXTURES)[variant])
    kind = StyleConfig if len(names) == 2 else TextureConfig
    if "iterations" in settings:
        settings["optimizer"] = OptimizerConfig(max_iterations=settings.pop("iterations"))
    seed = settings.pop("network_seed", 0)
    config = kind(**settings)
    network = load_recipe(config.network).with_seed(seed)
    images = [read(options, name) for name in names]
    started = time.perf_counter()
    if isinstance(config, StyleConfig):
        solution = transfer_style(images[0], images[1:], network=network, config=config)
    else:
        size = images[0].shape[:2]
        solution = synthesize_texture(images[0], size, network=network, config=config)
    print(path.name, f"{time.perf_counter() - started:.1f} s", flush=True)
    Image.fromarray(np.clip(np.rint(solution.image), 0, 255).astype(np.uint8)).save(path)
    return path


def read(options: argparse.Namespace, name: str) -> NDArray[Any]:
    """An image at the size of the runs."""
    image = as_pixels(find(options.images, name))
    return resize_image(image, *fit_longest_side(*image.shape[:2], options.size))


def rated(options: argparse.Namespace, judge: Judge, group: str) -> dict[str, Any]:
    """All pictures of a pair or a texture, with what the judge and rwgen's numbers say of each."""
    names = group.split(":")
    kinds: Mapping[str, Any] = STYLES if len(names) == 2 else TEXTURES
    runs = []
    for variant in options.variants or kinds:
        if variant in kinds and (path := make(options, names, variant)):
            runs.append({"variant": variant, "file": str(path)})
    for path in options.peers:
        for row in json.loads(path.read_text()):
            if row["of"] == names:
                file = find([path.parent, path.parent / "peer"], row["result"])
                runs.append({"variant": row["by"], "file": str(file)})
    originals = [Image.open(find(options.images, name)) for name in names]
    pictures = {run["file"]: as_pixels(run["file"]) for run in runs}
    images = [read(options, name) for name in names]
    rows: Iterator[Row]
    if len(names) == 2:
        made, content, styles = scale_styles(pictures, images[0], images[1:], options.size)
        rows, target = evaluate_style(made, content, styles), styles[0]
    else:
        made = {file: smaller(image, options.size) for file, image in pictures.items()}
        made, target, _ = scale_textures(made, images[0], options.size)
        rows = evaluate_texture(made, target)
    candidates = Candidates(target)
    for run, row in zip(runs, rows, strict=False):  # baselines come last and are not needed
        with Image.open(run["file"]) as picture:
            says = (judge.style if len(names) == 2 else judge.texture)(picture, *originals)
        run["judge"] = {name: round(x, 4) for name, x in says.items() if "layout" not in name}
        numbers = row.scores.numbers() | candidates(made[run["file"]])
        run["numbers"] = {name: float(f"{x:.4g}") for name, x in numbers.items()}
        print(run, flush=True)
    for run in runs:
        del run["file"]
    found = {"of": names, "pictures": len(runs), "correlations": correlations(runs), "runs": runs}
    print(found["of"], found["correlations"], flush=True)
    return found


def smaller(image: NDArray[Any], size: int) -> NDArray[Any]:
    """A texture, no larger than the source: other programs make them larger at the same scale."""
    height, width = (min(side, size) for side in image.shape[:2])
    return image[:height, :width]


class Candidates:
    """Numbers of untrained networks that were tried for styles and textures, and are not used.

    Each is the mean over the first four blocks of a relative squared distance, under one network
    with a seed that made no picture.
    """

    def __init__(self, target: NDArray[Any]) -> None:
        layers = [f"conv{block}_1" for block in range(1, 5)]
        self._extractors = {}
        for name, recipe in (("VGG", ZERO_BIAS_NETWORK), ("pyramid", PYRAMID_NETWORK)):
            network = build_network(load_recipe(recipe).with_seed(HELD_OUT_SEEDS[0]), layers[-1])
            self._extractors[name] = feature_extractor(network, layers)
        self._target = self._moments(target)

    def __call__(self, image: NDArray[Any]) -> dict[str, float]:
        """All numbers of an image, by name."""
        found: dict[str, list[float]] = {}
        for key, (mean, gram) in self._moments(image).items():
            wanted_mean, wanted = self._target[key]
            metric = gram_whitening(tf.constant(wanted[np.newaxis])).numpy()
            deviation, wanted_deviation = (np.sqrt(np.diag(x)) for x in (gram, wanted))
            distances = {
                "Gram": relative(gram, wanted),
                "whitened Gram": relative(metric @ gram @ metric, metric @ wanted @ metric),
                "means and deviations": relative(
                    np.concatenate([mean, deviation]),
                    np.concatenate([wanted_mean, wanted_deviation]),
                ),
            }
            for name, distance in distances.items():
                found.setdefault(f"{key[0]}, {name}", []).append(distance)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def _moments(
        self, image: NDArray[Any]
    ) -> dict[tuple[str, str], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        moments = {}
        for network, extractor in self._extractors.items():
            for layer, features in extractor(network_input(image)).items():
                values = features.numpy().reshape(-1, features.shape[-1]).astype(np.float64)
                moments[network, layer] = values.mean(0), np.cov(values.T, bias=True)
        return moments


def relative(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float(np.sum((found - wanted) ** 2) / np.sum(wanted**2))


def correlations(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Rank correlations of each number with what the judge says; 1 is the same order."""
    found: dict[str, dict[str, float]] = {}
    for says in runs[0]["judge"]:
        for number in runs[0]["numbers"]:
            if (says == "content") != (number in CONTENT_NUMBERS):
                continue
            order = spearmanr(
                [run["numbers"][number] for run in runs], [run["judge"][says] for run in runs]
            ).statistic
            # The judge's content is a likeness; rwgen's is a distance.
            sign = -1 if number == "content" else 1
            found.setdefault(says, {})[number] = round(sign * float(order), 3)
    return found


def summary(groups: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and least correlation of every number over pairs, and over textures."""
    collected: dict[str, dict[str, list[float]]] = {}
    for group in groups:
        for says, numbers in group["correlations"].items():
            for number, value in numbers.items():
                collected.setdefault(says, {}).setdefault(number, []).append(value)
    return {
        says: {
            number: {"mean": round(float(np.mean(values)), 3), "least": min(values)}
            for number, values in numbers.items()
        }
        for says, numbers in collected.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders of images")
    parser.add_argument("--choose", nargs="+", default=[], help="PHOTO:PAINTING, or a texture")
    parser.add_argument("--confirm", nargs="+", default=[], help="the same")
    parser.add_argument("--variants", nargs="*", help="names; none means all")
    parser.add_argument("--make-none", action="store_true", help="use pictures that exist")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--peers", type=Path, nargs="*", default=[])
    parser.add_argument("--folder", type=Path, required=True, help="where pictures are kept")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    judge = Judge()
    record: dict[str, Any] = {"size": options.size}
    for part in ("choose", "confirm"):
        groups = [rated(options, judge, group) for group in getattr(options, part)]
        record[part] = {"summary": summary(groups), "groups": groups}
    write_record(options.output, record)


if __name__ == "__main__":
    main()
