"""Time one evaluation of loss and gradient in rwgen and in PyTorch, relative to sgemm.

Both use the same weights, targets and image. Before anything is timed, losses and gradients are
compared with those of the PyTorch objective in float64. The measurements alternate within one
process, so that other load on the machine affects both. PyTorch runs eagerly in both memory
formats, and the faster one counts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from numpy.typing import NDArray
from record import write_record
from torch_peer import TorchObjective, torch_inversion, torch_style, torch_texture

from rwgen import StyleConfig, TextureConfig, build_network, load_recipe
from rwgen.compute.winograd import with_winograd
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import DEFAULT_NETWORK
from rwgen.noise import white_noise
from rwgen.optimize.minimizer import Minimizer
from rwgen.synthesis.objectives import (
    Objective,
    inversion_objective,
    style_objective,
    texture_objective,
)

FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
TOLERANCE = 0.02
"""Largest relative error of rwgen's losses and gradients, compared with float64. PyTorch's errors
are recorded but not limited: it subtracts features that biases dominate, so at pool5 a third of its
loss is rounding error."""

Evaluation = Callable[[], tuple[float, NDArray[Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--tasks", nargs="+", default=["style", "texture", "conv5_1", "pool5"])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    results = []
    for size in options.sizes:
        for task in options.tasks:
            row = {"task": task, "size": size, **_compare(task, size, options.repeats)}
            results.append(row)
            print(row, flush=True)
    write_record(options.output, {"repeats": options.repeats, "results": results})


def _compare(task: str, size: int, repeats: int) -> dict[str, Any]:
    photo, painting, point = (
        network_input(white_noise(seed, (size, size, 3))) for seed in range(3)
    )
    network, ours, peers = objectives(task, photo, painting)
    position = tf.reshape(tf.constant(point), [-1])

    def evaluation(objective: Objective) -> Evaluation:
        minimizer = Minimizer(objective, point.shape)

        def evaluate() -> tuple[float, NDArray[Any]]:
            loss, gradient, _ = minimizer._objective.evaluate(position)
            return float(loss), gradient.numpy().reshape(point.shape)

        return evaluate

    calls = {name: evaluation(objective) for name, objective in ours.items()}
    for name, peer in peers.items():
        calls[f"torch {name}"] = lambda peer=peer: peer.evaluate(point)
    wide = [value.astype(np.float64) for value in (photo, painting, point)]
    loss, gradient = _torch(task, _network(task, "float64"), *wide[:2]).evaluate(wide[2])
    differences = {}
    for name, call in calls.items():
        other, other_gradient = call()
        scale = np.abs(gradient).max()
        differences[name] = [
            abs(other / loss - 1),
            float(np.abs(other_gradient - gradient).max() / scale),
        ]
        if name in ours and max(differences[name]) > TOLERANCE:
            raise SystemExit(f"{name} differs from the float64 objective: {differences[name]}")
    matrix = tf.constant(np.random.default_rng(0).normal(size=(2048, 2048)), tf.float32)
    calls["sgemm"] = lambda: (0.0, tf.matmul(matrix, matrix).numpy())

    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    quartiles = {
        name: [float(value) for value in np.percentile(values, (25, 50, 75))]
        for name, values in seconds.items()
    }
    best = min((name for name in calls if name.startswith("torch")), key=lambda x: quartiles[x][1])
    ratios = np.divide(seconds["rwgen"], seconds[best])
    sgemm = 2 * 2048**3 / quartiles["sgemm"][1]
    return {
        "ratio_to_best_torch": [float(value) for value in np.percentile(ratios, (25, 50, 75))],
        "best_torch": best,
        "seconds": quartiles,
        "gflop": _flop(network, size) / 1e9,
        "share_of_sgemm": _flop(network, size) / quartiles["rwgen"][1] / sgemm,
        "sgemm_gflop_per_second": sgemm / 1e9,
        "largest_differences": differences,
    }


def objectives(
    task: str, photo: NDArray[Any], painting: NDArray[Any]
) -> tuple[keras.Model, dict[str, Objective], dict[str, TorchObjective]]:
    """Return the network, rwgen's objectives by convolution, and PyTorch's by memory format."""
    network = _network(task)

    def ours(network: keras.Model) -> Objective:
        if task == "style":
            return style_objective(network, photo, [painting], StyleConfig())
        if task == "texture":
            return texture_objective(network, painting, TextureConfig())
        return inversion_objective(network, photo, (task,))

    networks = {"rwgen": with_winograd(network), "direct": network}
    return (
        network,
        {name: ours(model) for name, model in networks.items()},
        {name: _torch(task, network, photo, painting, order) for name, order in FORMATS.items()},
    )


def _network(task: str, dtype: str | None = None) -> keras.Model:
    names = {"style": StyleConfig().network, "texture": TextureConfig().network}
    deepest = {"style": "conv4_1", "texture": "conv4_1"}.get(task, task)
    recipe = load_recipe(names.get(task, DEFAULT_NETWORK))
    return build_network(recipe, deepest, dtype=dtype)


def _torch(
    task: str,
    network: keras.Model,
    photo: NDArray[Any],
    painting: NDArray[Any],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> TorchObjective:
    if task == "style":
        return torch_style(network, photo, painting, StyleConfig(), memory_format)
    if task == "texture":
        return torch_texture(network, painting, TextureConfig(), memory_format)
    return torch_inversion(network, photo, task, memory_format)


def _flop(network: Any, size: int) -> float:
    """Multiplications and additions of direct forward and backward convolutions."""
    flop, side = 0.0, size
    for layer in network.layers:
        if layer.weights:
            flop += 2 * 2 * side**2 * float(np.prod(layer.kernel.shape))
        elif "pool" in layer.name:
            side //= 2
    return flop


if __name__ == "__main__":
    main()
