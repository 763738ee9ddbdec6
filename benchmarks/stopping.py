"""Whether a style transfer should end when held-out networks see no more progress.

For each pair, one search of the default style is watched every few iterations: the judge's numbers
(benchmarks/judge.py), the search's own loss, and the style loss under a network of the same kind
with another seed, which the search does not see. A rule ends the search when that number has
fallen by less than a share since the last look. The record says for every such share where each
pair would have ended, what the judge says there as a ratio to the default number of iterations,
and the same for fixed numbers of iterations; and what a look costs, in iterations.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf
from judge import Judge
from judged import find
from numpy.typing import NDArray
from PIL import Image
from record import write_record

from rwgen import Snapshot, StyleConfig, build_network, load_recipe, transfer_style
from rwgen.compute.plan import ComputePlan
from rwgen.images import as_pixels, fit_longest_side, resize_image
from rwgen.metrics.config import HELD_OUT_SEEDS
from rwgen.network.preprocess import network_input
from rwgen.optimize.config import OptimizerConfig
from rwgen.synthesis.config import STYLE_ITERATIONS
from rwgen.synthesis.objectives import style_objective

SHARES = (0.2, 0.1, 0.07, 0.05, 0.03, 0.02)
"""Shares of the held-out loss: a search ends at the first look that finds it fallen by less."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders of images")
    parser.add_argument("--pairs", nargs="+", required=True, help="PHOTO:PAINTING file names")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=90)
    parser.add_argument("--every", type=int, default=5, help="iterations between two looks")
    parser.add_argument("--folder", type=Path, help="keep the pictures here")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    judge = Judge()
    runs = [watch(options, judge, pair.split(":")) for pair in options.pairs]
    write_record(
        options.output,
        {
            "size": options.size,
            "every": options.every,
            "load_average_at_the_end": os.getloadavg()[0],
            "runs": runs,
            "look_in_iterations": median(run["look_in_iterations"] for run in runs),
            "rules": rules(runs),
        },
    )


def watch(options: argparse.Namespace, judge: Judge, names: list[str]) -> dict[str, Any]:
    """One search, looked at every few iterations."""
    images = [as_pixels(find(options.images, name)) for name in names]
    photo, painting = (
        resize_image(image, *fit_longest_side(*image.shape[:2], options.size)) for image in images
    )
    originals = [Image.open(find(options.images, name)) for name in names]
    config = StyleConfig(optimizer=OptimizerConfig(max_iterations=options.iterations), octaves=0)
    recipe = load_recipe(config.network).with_seed(HELD_OUT_SEEDS[0])
    held_out = build_network(recipe, "conv4_1")
    objective = style_objective(
        held_out,
        network_input(photo),
        [network_input(painting)],
        dataclasses.replace(config, content_weight=0.0, tv_weight=0.0),
        ComputePlan(jit_compile=False),
    )
    look = tf.function(objective.terms, autograph=False)

    def held_out_loss(image: NDArray[Any]) -> float:
        return float(look(tf.constant(network_input(image)), objective.values)["style"])

    rows: list[dict[str, Any]] = []
    held_out_loss(photo)  # traces it
    seconds_of_looks: list[float] = []
    ends: list[float] = []

    def report(step: Snapshot) -> None:
        ends.append(step.seconds)
        if step.iteration % options.every:
            return
        picture = np.clip(np.rint(step.image), 0, 255).astype(np.uint8)
        began = time.perf_counter()
        loss = held_out_loss(picture.astype(np.float32))
        seconds_of_looks.append(time.perf_counter() - began)
        rows.append({"iteration": step.iteration, "loss": step.loss, "held_out": loss})
        result = Image.fromarray(picture)
        rows[-1] |= {
            name: round(value, 4)
            for name, value in judge.style(result, *originals).items()
            if name in ("style", "content")
        }
        if options.folder:
            options.folder.mkdir(parents=True, exist_ok=True)
            stems = "-in-".join(Path(name).stem for name in names)
            result.save(options.folder / f"{stems}-after-{step.iteration}-{options.size}.png")

    # `step.seconds` counts the callback too: iterations between two looks are timed.
    transfer_style(photo, [painting], config=config, callback=report)
    iterations = [
        after - before
        for number, (before, after) in enumerate(pairwise(ends))
        if number % options.every
    ]
    print(names, *rows, sep="\n", flush=True)
    return {
        "of": names,
        "seconds_of_an_iteration": round(median(iterations), 4),
        "look_in_iterations": round(median(seconds_of_looks) / median(iterations), 3),
        "looks": rows,
    }


def rules(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Where rules and fixed numbers of iterations end, with ratios to the default number."""
    found: dict[str, list[dict[str, Any]]] = {"shares": [], "fixed": []}
    for share in SHARES:
        found["shares"].append({"share": share, **_ends([_end(run, share) for run in runs], runs)})
    for number, row in enumerate(runs[0]["looks"]):
        if row["iteration"]:
            found["fixed"].append(_ends([number] * len(runs), runs))
    return found


def _end(run: dict[str, Any], share: float) -> int:
    losses = [row["held_out"] for row in run["looks"]]
    for number in range(1, len(losses)):
        if losses[number] > (1 - share) * losses[number - 1]:
            return number
    return len(losses) - 1


def _ends(numbers: list[int], runs: list[dict[str, Any]]) -> dict[str, Any]:
    iterations, styles, contents = [], [], []
    for number, run in zip(numbers, runs, strict=True):
        end = run["looks"][number]
        default = next(row for row in run["looks"] if row["iteration"] == STYLE_ITERATIONS)
        iterations.append(end["iteration"])
        styles.append(round(end["style"] / default["style"], 3))
        contents.append(round(end["content"] - default["content"], 3))
    return {
        "iterations": iterations,
        "mean_iterations": float(np.mean(iterations)),
        "style_ratios": styles,
        "mean_style_ratio": round(float(np.mean(styles)), 3),
        "worst_style_ratio": max(styles),
        "content_differences": contents,
    }


if __name__ == "__main__":
    main()
