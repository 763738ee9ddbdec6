"""Whether compiling a search with XLA repays: seconds of the first evaluation, and of later ones.

Compares an ordinary graph with direct convolutions, XLA with direct convolutions, and XLA with
Winograd's algorithm, for styles of the default network and of the trained network's widths, and
for an inversion. The ways take turns in one process. From the seconds that compilation costs and
an evaluation saves follows the number of evaluations, and with it the number of multiplications
of a whole search, from which on it repays (`rwgen.compute.memory.COMPILED_MULTIPLICATIONS`).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from record import write_record

from rwgen import StyleConfig, build_network, load_recipe
from rwgen.compute.memory import compiled_multiplications
from rwgen.compute.plan import ComputePlan
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import DEFAULT_NETWORK, ZERO_BIAS_NETWORK
from rwgen.noise import white_noise
from rwgen.optimize.best_so_far import BestSoFar
from rwgen.synthesis.objectives import Objective, inversion_objective, style_objective

WAYS = {
    "graph": ComputePlan(jit_compile=False),
    "XLA, direct": ComputePlan(winograd=False),
    "XLA, Winograd": ComputePlan(),
}
CASES = {
    "style, the default network": (StyleConfig().network, "conv4_1"),
    "style, all widths": (ZERO_BIAS_NETWORK, "conv4_1"),
    "inversion of conv4_1": (DEFAULT_NETWORK, "conv4_1"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for case in options.cases:
        for size in options.sizes:
            rows.append({"case": case, "size": size, **_compare(case, size, options.repeats)})
            print(rows[-1], flush=True)
    write_record(options.output, {"repeats": options.repeats, "rows": rows})


def _compare(case: str, size: int, repeats: int) -> dict[str, Any]:
    name, deepest = CASES[case]
    network = build_network(load_recipe(name), deepest)
    shape = (size, size, 3)
    photo, painting, point = (network_input(white_noise(seed, shape)) for seed in range(3))
    position = tf.reshape(tf.constant(point), [-1])

    def objective(model: keras.Model, plan: ComputePlan) -> Objective:
        if case.startswith("style"):
            return style_objective(model, photo, [painting], StyleConfig(), plan)
        return inversion_objective(model, photo, (deepest,), plan=plan)

    calls, first = {}, {}
    for way, plan in WAYS.items():
        search = BestSoFar(
            objective(plan.network(network), plan), point.shape, tf.float32, plan.jit_compile
        )
        calls[way] = search.evaluate
        began = time.perf_counter()
        search.evaluate(position)[0].numpy()
        first[way] = time.perf_counter() - began
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way, call in calls.items():
            began = time.perf_counter()
            call(position)[0].numpy()
            seconds[way].append(time.perf_counter() - began)
    medians = {way: float(np.median(values)) for way, values in seconds.items()}
    costs = first["XLA, Winograd"] - first["graph"]
    saves = medians["graph"] - medians["XLA, Winograd"]
    work = _multiplications(network, size)
    repays = costs / saves if saves > 0 else None
    return {
        "first_seconds": first,
        "seconds": {
            way: [float(value) for value in np.percentile(values, (25, 50, 75))]
            for way, values in seconds.items()
        },
        "evaluations_to_repay": repays,
        "multiplications": work,
        "multiplications_to_repay": repays * work if repays and work else None,
    }


def _multiplications(network: keras.Model, side: int) -> int:
    """Of a forward pass, in the layers that `rwgen.compute.memory` counts."""
    count = 0
    for layer in network.layers:
        if layer.weights:
            count += compiled_multiplications(layer.kernel.shape, side**2 * layer.filters)
        elif "pool" in layer.name:
            side //= 2
    return count


if __name__ == "__main__":
    main()
