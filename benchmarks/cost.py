"""Time what a user waits for: `rwgen --help`, the start of a run, and one evaluation.

Times of `--help` and of an evaluation are quartiles; the others are measured once. Do not compare
times between runs or machines.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import write_record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    def run(program: str) -> None:
        command = [sys.executable, "-P", "-c", program]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    programs = {
        "help_seconds": "from rwgen.cli.main import main; main(['--help'])",
        "typer_and_rich_seconds": "import typer, rich",
        "typer_help_seconds": "import typer.rich_utils, rich.markdown",
    }
    results: dict[str, Any] = {
        name: _quartiles(functools.partial(run, program), options.repeats)
        for name, program in programs.items()
    }
    began = time.perf_counter()
    import tensorflow as tf

    from rwgen import StyleConfig, build_network, load_recipe
    from rwgen.network.preprocess import network_input
    from rwgen.noise import white_noise
    from rwgen.optimize.minimizer import Minimizer
    from rwgen.synthesis.objectives import style_objective

    results["import_seconds"] = time.perf_counter() - began
    began = time.perf_counter()
    config = StyleConfig()
    network = build_network(load_recipe(config.network), config.style_layers[-1])
    results["build_seconds"] = time.perf_counter() - began
    for size in options.sizes:
        images = [network_input(white_noise(seed, (size, size, 3))) for seed in range(3)]
        began = time.perf_counter()
        objective = style_objective(network, images[0], images[1:2], config)
        targets = time.perf_counter() - began
        # Searches of the default network are not compiled.
        minimizer = Minimizer(objective, images[2].shape, jit_compile=False)
        position = tf.reshape(tf.constant(images[2]), [-1])
        began = time.perf_counter()
        minimizer._objective.evaluate(position)
        compilation = time.perf_counter() - began

        def evaluate(minimizer: Minimizer = minimizer, position: tf.Tensor = position) -> None:
            minimizer._objective.evaluate(position)[0].numpy()

        results[f"{size}x{size}"] = {
            "targets_seconds": targets,
            "first_evaluation_seconds": compilation,
            "evaluation_seconds": _quartiles(evaluate, options.repeats),
        }
    print(results)
    write_record(options.output, {"repeats": options.repeats, "results": results})


def _quartiles(call: Callable[[], None], repeats: int) -> list[float]:
    call()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return [float(value) for value in np.percentile(seconds, (25, 50, 75))]


if __name__ == "__main__":
    main()
