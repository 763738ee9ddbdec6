"""Calls in one process: what the first takes, as every call did without reuse, and the later ones.

Each call has another image of the same size. `graphs` counts the functions that TensorFlow holds
after it: they must not grow.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import write_record
from tensorflow.python.framework.func_graph import FuncGraph

import rwgen
from rwgen import InversionConfig, OptimizerConfig, StyleConfig, TextureConfig

PATCH = 8
"""Side of the squares that the images are smoothed from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    side = options.side
    optimizer = OptimizerConfig(max_iterations=options.iterations)
    tasks: dict[str, Callable[[int], Any]] = {
        "style": lambda seed: rwgen.transfer_style(
            picture(seed, side), picture(-seed, side), config=StyleConfig(optimizer=optimizer)
        ),
        "texture": lambda seed: rwgen.synthesize_texture(
            picture(seed, side), config=TextureConfig(optimizer=optimizer)
        ),
        "inversion of conv3_1": lambda seed: rwgen.invert(
            picture(seed, side), "conv3_1", config=InversionConfig(optimizer=optimizer)
        ),
    }
    rwgen.invert(picture(0, 32), "conv1_1", config=InversionConfig(optimizer=optimizer))  # imports
    results = {}
    for name, task in tasks.items():
        rows = []
        for number in range(1, options.calls + 1):
            begin = time.perf_counter()
            task(number)
            seconds = time.perf_counter() - begin
            gc.collect()
            graphs = sum(isinstance(item, FuncGraph) for item in gc.get_objects())
            rows.append({"seconds": seconds, "graphs": graphs})
        later = float(np.median([row["seconds"] for row in rows[1:]]))
        print(f"{name}: {rows[0]['seconds']:.2f} s, then {later:.2f} s; graphs", end=" ")
        print(*(row["graphs"] for row in rows), flush=True)
        results[name] = {"first": rows[0]["seconds"], "later": later, "calls": rows}
    settings = {"side": side, "iterations": options.iterations}
    write_record(options.output, {**settings, "tasks": results})


def picture(seed: int, side: int) -> np.ndarray[Any, Any]:
    """A smooth image [side, side, 3] of random colors."""
    generator = np.random.default_rng([abs(seed), seed < 0])
    patches = generator.uniform(0, 255, (side // PATCH, side // PATCH, 3))
    return rwgen.resize_image(patches, side, side)


if __name__ == "__main__":
    main()
