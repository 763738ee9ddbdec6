"""How much networks of different seeds vary, stacked against plain (paper, figure 6).

Each seed gives a plain network and a stack that is selected from it on a photo, at `--stack-size`
and with few iterations. From both the photo is inverted, layer by layer, from noise of the same
seed. Quartiles of PSNR say how much the draw of the weights decides; the times at which the
candidates were judged say how the time for a stack grows with their number. What is in the record
is not made again.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from inversion import load_photo
from record import write_record

import rwgen
from rwgen import InversionConfig, OptimizerConfig, Recipe, metrics
from rwgen.reproduction.figures.comparison import compare, quantiles
from rwgen.workers import process_runner

POOLS = ["pool1", "pool2", "pool3", "pool4", "pool5"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photo", default="astronaut", help="of scikit-image, or a file")
    parser.add_argument("--layers", nargs="+", default=POOLS)
    parser.add_argument("--network", default="ranvgg19-half-normal", help="plain; drawn by seed")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--candidates", type=int, default=5)
    parser.add_argument("--stack-size", type=int, default=64)
    parser.add_argument("--stack-iterations", type=int, default=50)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    results: list[dict[str, Any]] = []
    if options.output.exists():
        results = json.loads(options.output.read_text(encoding="utf-8"))["results"]
    known = {row["seed"] for row in results}
    missing = [seed for seed in range(options.seeds) if seed not in known]
    with process_runner(options.workers) as run:
        for row in run(functools.partial(measure, options), missing):
            results.append(row)
            write_record(options.output, {"settings": _settings(options), "results": results})
            print(row["seed"], row["psnr"], flush=True)
    print(_table(results, options))


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """A plain network and a stack of one seed: times of its candidates, and inversions of both."""
    shipped = rwgen.load_recipe(options.network)
    plain = Recipe(
        name=f"seed-{seed}",
        seed=seed,
        bias_stddev=shipped.bias_stddev,
        bias_distribution=shipped.bias_distribution,
    )
    times: list[tuple[str, int, float]] = []
    stacked = rwgen.select_weights(
        load_photo(options.photo, options.stack_size),
        num_candidates=options.candidates,
        recipe=plain,
        layers=_convolutions_up_to(plain, options.layers),
        config=InversionConfig(
            seed=seed, optimizer=OptimizerConfig(max_iterations=options.stack_iterations)
        ),
        callback=lambda score: times.append((score.layer, score.candidate, time.perf_counter())),
    )
    photo = load_photo(options.photo, options.size)
    row: dict[str, Any] = {"seed": seed, "times": times, "psnr": {}, "distance": {}}
    for name, recipe in (("plain", plain), ("stacked", stacked)):
        images = [_invert(photo, recipe, layer, seed, options) for layer in options.layers]
        row["psnr"][name] = [metrics.psnr(photo, image) for image in images]
        row["distance"][name] = [
            float(np.sqrt(np.sum((photo - image) ** 2)) / photo.size) for image in images
        ]
    return row


def _convolutions_up_to(recipe: Recipe, layers: list[str]) -> list[str]:
    names = [spec.name for spec in recipe.topology.layers()]
    needed = names[: max(map(names.index, layers)) + 1]
    return [name for name in needed if name.startswith("conv")]


def _invert(
    photo: Any, recipe: Recipe, layer: str, seed: int, options: argparse.Namespace
) -> np.ndarray:
    config = InversionConfig(
        seed=seed, optimizer=OptimizerConfig(max_iterations=options.evaluations)
    )
    solution = rwgen.invert(
        photo,
        layer,
        network=rwgen.build_network(recipe, layer),
        config=config,
        callback=lambda step, _: step.evaluations >= options.evaluations,
    )
    return np.rint(solution.image).clip(0, 255)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name != "output"}


def _table(results: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Markdown: quartiles of PSNR over seeds, tests, and seconds of a stack over its candidates."""
    lines = ["| layer | plain, dB | stacked, dB | p of the spread | p of the difference |"]
    lines.append("|---|---|---|---|---|")
    for number, layer in enumerate(options.layers):
        plain, stacked = (
            [row["psnr"][name][number] for row in results] for name in ("plain", "stacked")
        )
        found = compare(stacked, plain)
        cells = [" .. ".join(f"{x:.1f}" for x in quantiles(v)) for v in (plain, stacked)]
        cells += [f"{found.spread_p:.2f}", f"{found.location_p:.2f}"]
        lines.append(f"| {layer} | " + " | ".join(cells) + " |")
    lines += ["", "| candidates | seconds of a stack, median and range |", "|---|---|"]
    for count in range(1, options.candidates + 1):
        totals = [_stack_seconds(row["times"], count) for row in results]
        lines.append(
            f"| {count} | {np.median(totals):.0f} ({min(totals):.0f}..{max(totals):.0f}) |"
        )
    return "\n".join(lines)


def _stack_seconds(times: list[tuple[str, int, float]], count: int) -> float:
    """What the first `count` candidates of each layer took."""
    moments = [moment for _, _, moment in times]
    spent = np.diff(moments, prepend=moments[0])
    # The first has no beginning that was noted: it counts as long as the second.
    spent[0] = spent[1]
    return float(sum(s for s, (_, number, _) in zip(spent, times, strict=True) if number < count))


if __name__ == "__main__":
    main()
