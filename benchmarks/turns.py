"""One evaluation of the default style in two checkouts of this repository, in turns.

Each checkout runs in a process of its own, whose evaluations of loss and gradient alternate with
the other's, so that other load on the machine affects both. The ratio is taken within a turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import write_record

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", nargs="?", type=Path, help="the other checkout")
    parser.add_argument("--commit", help="its commit, for the record")
    parser.add_argument("--size", type=int, nargs=2, default=[384, 512], help="HEIGHT WIDTH")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--evaluate", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.evaluate:
        _evaluate(options.size)
        return
    workers = [_worker(folder, options.size) for folder in (options.before, ROOT)]
    sums = [float(_line(worker)) for worker in workers]
    if abs(sums[1] / sums[0] - 1) > 1e-3:
        raise SystemExit(f"the gradients differ: {sums}")
    seconds = []
    for _ in range(options.turns):
        turn = []
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("\n")
            worker.stdin.flush()
            turn.append(float(_line(worker)))
        seconds.append(turn)
    for worker in workers:
        worker.terminate()
    quartiles = (25, 50, 75)
    table = np.array(seconds)
    values: dict[str, Any] = {
        "commit_before": options.commit,
        "size": options.size,
        "seconds_before": np.percentile(table[:, 0], quartiles).tolist(),
        "seconds_now": np.percentile(table[:, 1], quartiles).tolist(),
        "ratio": np.percentile(table[:, 1] / table[:, 0], quartiles).tolist(),
    }
    print(values)
    write_record(options.output, values)


def _worker(folder: Path, size: list[int]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, "--evaluate", "--size", *map(str, size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout
    return worker.stdout.readline()


def _evaluate(size: list[int]) -> None:
    """Print the sum of a gradient's magnitudes, and then seconds for each line of input."""
    import tensorflow as tf

    from rwgen import StyleConfig, build_network
    from rwgen.compute.plan import ComputePlan
    from rwgen.network.preprocess import network_input
    from rwgen.noise import white_noise
    from rwgen.synthesis.objectives import style_objective

    photo, painting, point = (network_input(white_noise(seed, (*size, 3))) for seed in range(3))
    config, plan = StyleConfig(content_weight=50), ComputePlan(jit_compile=False)
    network = plan.network(build_network(config.network, "conv4_1"))
    objective = style_objective(network, photo, [painting], config, plan)
    image = tf.constant(point)

    @tf.function(autograph=False)
    def gradient(image: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.add_n(list(objective.terms(image, objective.values).values()))
        return tape.gradient(loss, image)

    print(np.abs(gradient(image).numpy()).sum(dtype=float), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        gradient(image).numpy()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
