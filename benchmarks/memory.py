"""Measure peak memory by number of pixels: features kept or recomputed, compiled with XLA or not.

Each size and mode runs in a separate process, whose peak resident size is taken from the system.
The process does what `rwgen style --octaves 0`, with or without regions, or `rwgen invert` does,
with few iterations: the peak does not grow after the second. The record also has the estimate of
`rwgen.compute.memory`, and the time of one evaluation in the same process. Compare these times as
ratios only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import write_record

from rwgen import OptimizerConfig, StyleConfig, load_recipe
from rwgen.compute.memory import Workload, architecture_workload
from rwgen.network.recipe import DEFAULT_NETWORK

TASKS = ("style", "regions", "conv5_1")
NUM_REGIONS = 3
WAYS = ("kept", "again", "kept, compiled", "again, compiled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument(
        "--limit", type=float, default=12.0, help="GiB; tasks with a larger estimate are skipped"
    )
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--child", nargs=3, metavar=("TASK", "SIZE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        task, size, way = options.child
        print(json.dumps(_measure(task, int(size), way, options.iterations)))
        return
    results = []
    for task in options.tasks:
        rows = []
        for size in options.sizes:
            for way in options.ways:
                estimate = _workload(task, size, way).peak_bytes(way.startswith("again"))
                row: dict[str, Any] = {"size": size, "features": way, "estimate_bytes": estimate}
                if estimate <= options.limit * 2**30:
                    row |= _in_a_process(task, size, way, options.iterations)
                rows.append(row)
                print(task, row, flush=True)
        fits = {way: _fit(rows, way) for way in options.ways}
        print(fits, flush=True)
        results.append({"task": task, "rows": rows, "fits": fits})
    write_record(options.output, {"iterations": options.iterations, "results": results})


def _workload(task: str, size: int, way: str) -> Workload:
    if task != "conv5_1":
        config = StyleConfig()
        topology = load_recipe(config.network).topology
        layers = (*config.content_layers, *config.style_layers)
        content, images = config.content_layers, 2
    else:
        topology = load_recipe(DEFAULT_NETWORK).topology
        layers, content, images = (task,), (task,), 1
    return architecture_workload(
        topology,
        layers,
        size=(size, size),
        targets=[(size, size)] * images,
        content_layers=content,
        optimizer=OptimizerConfig(jit_compile="compiled" in way),
        propagate_differences=task == "conv5_1",
        style_layers=StyleConfig().style_layers if task == "regions" else (),
        num_regions=NUM_REGIONS,
    )


def _in_a_process(task: str, size: int, way: str, iterations: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", task, str(size), way]
    # As set by the command line where memory is scarce: freed memory goes back to the system.
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [*command, "--iterations", str(iterations)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def _measure(task: str, size: int, way: str, iterations: int) -> dict[str, Any]:
    import tensorflow as tf

    from rwgen import Minimizer, build_network
    from rwgen.compute.plan import ComputePlan
    from rwgen.network.preprocess import network_input
    from rwgen.noise import white_noise
    from rwgen.synthesis.objectives import inversion_objective, style_objective
    from rwgen.synthesis.regions import regions_of

    config = StyleConfig()
    recipe = load_recipe(DEFAULT_NETWORK if task == "conv5_1" else config.network)
    original = build_network(recipe, task if task == "conv5_1" else "conv4_1")
    compiled = "compiled" in way
    plan = ComputePlan(
        recompute=way.startswith("again"), jit_compile=compiled, propagate_differences=True
    )
    network = plan.network(original)
    content, style, start = (network_input(white_noise(seed, (size, size, 3))) for seed in range(3))
    began = time.perf_counter()
    if task != "conv5_1":
        regions = None
        if task == "regions":
            mask = np.tile(np.arange(size) * NUM_REGIONS // size * 100, (size, 1))
            regions = regions_of(mask, (), (size, size), [(size, size)], (1.0,))
        objective = style_objective(network, content, [style], config, plan, regions)
    else:
        objective = inversion_objective(network, content, (task,), plan=plan)
    targets = time.perf_counter() - began
    targets_peak = _peak()
    optimizer = OptimizerConfig(max_iterations=iterations, jit_compile=plan.compiles_objective)
    minimizer = Minimizer(objective, start.shape, config=optimizer)
    minimizer.minimize(start)
    peak = _peak()
    position = tf.reshape(tf.constant(start), [-1])
    seconds = []
    for _ in range(7 if size <= 512 else 1):
        began = time.perf_counter()
        minimizer._objective.evaluate(position)[0].numpy()
        seconds.append(time.perf_counter() - began)
    return {
        "peak_bytes": peak,
        "targets_peak_bytes": targets_peak,
        "targets_seconds": targets,
        "evaluation_seconds": [float(value) for value in np.percentile(seconds, (25, 50, 75))],
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux reports KiB


def _fit(rows: list[dict[str, Any]], way: str) -> dict[str, float] | None:
    """Fit a straight line to peaks over pixels; None for fewer than three sizes."""
    found = [row for row in rows if row["features"] == way and "peak_bytes" in row]
    if len(found) < 3:
        return None
    pixels = np.array([row["size"] ** 2 for row in found], dtype=np.float64)
    peaks = np.array([row["peak_bytes"] for row in found], dtype=np.float64)
    # Weighted by relative error; otherwise the largest size alone would determine the line.
    slope, base = np.polyfit(pixels, peaks, 1, w=1 / peaks)
    error = np.max(np.abs(slope * pixels + base - peaks) / peaks)
    return {"bytes_per_pixel": slope, "base_bytes": base, "largest_relative_error": float(error)}


if __name__ == "__main__":
    main()
