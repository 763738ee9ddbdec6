"""Check and time rwgen on a GPU, against the CPU of the same machine, in one process.

Checks, each of which fails the program: weights are bit-identical to the recipe's fingerprints;
losses and gradients of all objectives agree with the CPU's; every task runs, and resumes from its
checkpoint to the image of the uninterrupted run; an export's signatures give the CPU's features.
Then styles are timed at several sizes, with XLA or without and with TF32 or without, next to the
card's peak memory and the estimate of `rwgen.compute.memory`. `--device cpu` runs the same on a
machine without a GPU, to try the program itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from record import write_record

import rwgen
from rwgen import (
    Checkpoint,
    ExportConfig,
    InversionConfig,
    OptimizerConfig,
    StyleConfig,
    TextureConfig,
    build_network,
    export_network,
    load_recipe,
)
from rwgen.compute.device import use_device
from rwgen.compute.memory import architecture_workload
from rwgen.network.preprocess import network_input
from rwgen.network.vgg import weight_fingerprints
from rwgen.noise import white_noise
from rwgen.optimize.best_so_far import BestSoFar
from rwgen.synthesis.objectives import inversion_objective, style_objective, texture_objective

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3
"""Largest relative difference of losses, and of gradients in units of their largest component."""

FEATURE_TOLERANCE = 1e-3
"""Largest difference of features in units of their largest."""

STOP_AT, ITERATIONS = 6, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="gpu:0")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--check-size", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    place = use_device(options.device)  # before TensorFlow touches a GPU
    values: dict[str, Any] = {
        "device": options.device,
        "cards": [
            tf.config.experimental.get_device_details(card).get("device_name")
            for card in tf.config.list_physical_devices("GPU")
        ],
    }
    checks: dict[str, Callable[[str, int], Any]] = {
        "weights": check_weights,
        "objectives": check_objectives,
        "tasks": check_tasks,
        "signatures": check_signatures,
    }
    for name, check in checks.items():
        values[name] = check(options.device, options.check_size)
        print(name, values[name], flush=True)
        write_record(options.output, values)  # what is known survives what fails next
    values["style"] = []
    with place:
        for size in options.sizes:
            for jit_compile in (False, True):
                for tf32 in (False, True):
                    row = time_style(options.device, size, options.iterations, jit_compile, tf32)
                    values["style"].append(row)
                    print(row, flush=True)
                    write_record(options.output, values)


def check_weights(device: str, _size: int) -> int:
    """Build a pyramid and both widths on the device; return the number of layers compared."""
    compared = 0
    for name in ("ranpyramid", "ranvgg19-half-width", "ranvgg19-zero-bias"):
        recipe = load_recipe(name)
        with use_device(device):
            found = weight_fingerprints(build_network(recipe, "conv5_1"))
        for layer, fingerprint in found.items():
            if recipe.weights_sha256[layer] != fingerprint:
                raise SystemExit(f"{name}: weights of {layer} differ from the recipe's")
            compared += 1
    return compared


def check_objectives(device: str, size: int) -> dict[str, list[float]]:
    """Return relative differences of loss and gradient from the CPU's, by objective."""
    found = {}
    for name in ("style", "texture", "conv3_1", "conv5_1"):
        (loss, gradient), (own, own_gradient) = (
            _evaluate(name, place, size) for place in ("cpu", device)
        )
        scale = np.abs(gradient).max()
        found[name] = [abs(own / loss - 1), float(np.abs(own_gradient - gradient).max() / scale)]
        if found[name][0] > LOSS_TOLERANCE or found[name][1] > GRADIENT_TOLERANCE:
            raise SystemExit(f"{name}: loss or gradient differs from the CPU's: {found[name]}")
    return found


def _evaluate(name: str, device: str, size: int) -> tuple[float, NDArray[Any]]:
    photo, painting, point = (
        network_input(white_noise(seed, (size, size, 3))) for seed in range(3)
    )
    with use_device(device):
        if name == "style":
            network = build_network(load_recipe(StyleConfig().network), "conv4_1")
            objective = style_objective(network, photo, [painting], StyleConfig())
        elif name == "texture":
            network = build_network(load_recipe(TextureConfig().network), "conv4_1")
            objective = texture_objective(network, painting, TextureConfig())
        else:
            network = build_network(load_recipe(InversionConfig().network), name)
            objective = inversion_objective(network, photo, (name,))
        search = BestSoFar(objective, point.shape, tf.float32, jit_compile=False)
        loss, gradient, _ = search.evaluate(tf.reshape(tf.constant(point), [-1]))
        return float(loss), gradient.numpy()


def check_tasks(device: str, size: int) -> dict[str, float]:
    """Run every task whole, and stopped and resumed; return the difference in levels of 0..255."""
    photo, painting = (white_noise(seed, (size, size, 3)) for seed in range(2))
    optimizer = OptimizerConfig(max_iterations=ITERATIONS)
    tasks: dict[str, Callable[..., Any]] = {
        "style": lambda **rest: rwgen.transfer_style(
            photo, [painting], config=StyleConfig(optimizer=optimizer), **rest
        ),
        "texture": lambda **rest: rwgen.synthesize_texture(
            painting, config=TextureConfig(optimizer=optimizer), **rest
        ),
        "invert": lambda **rest: rwgen.invert(
            photo, "conv3_1", config=InversionConfig(optimizer=optimizer), **rest
        ),
    }
    differences = {}
    for name, task in tasks.items():
        with use_device(device), tempfile.TemporaryDirectory() as folder:
            whole = task()
            task(checkpoint=Checkpoint(folder), callback=lambda step, _: step.iteration >= STOP_AT)
            resumed = task(checkpoint=Checkpoint(folder))
        differences[name] = float(np.abs(whole.image - resumed.image).max())
        if not np.isfinite(whole.image).all() or resumed.iterations != whole.iterations:
            raise SystemExit(f"{name}: the resumed run is not the whole one")
        if whole.loss >= whole.initial_loss:
            raise SystemExit(f"{name}: the loss did not fall")
    return differences


def check_signatures(device: str, size: int) -> dict[str, float]:
    """Call an export's signatures on the device; return differences from the CPU's features."""
    images = np.stack([white_noise(seed, (size, size, 3)) for seed in range(3)])
    images = np.rint(images.clip(0, 255)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        config = ExportConfig(layers=("conv2_1", "conv4_1"))
        path = export_network("ranvgg19-half-width", folder, config)
        outputs = []
        for place in ("cpu", device):
            with use_device(place):
                served = tf.saved_model.load(str(path)).signatures["features"]
                outputs.append(served(tf.constant(images)))
    differences = {}
    for name, expected in outputs[0].items():
        away = np.abs(outputs[1][name].numpy() - expected.numpy()).max()
        differences[name] = float(away / np.abs(expected.numpy()).max())
        if differences[name] > FEATURE_TOLERANCE:
            raise SystemExit(f"{name}: features differ from the CPU's by {differences[name]}")
    return differences


def time_style(
    device: str, size: int, iterations: int, jit_compile: bool, tf32: bool
) -> dict[str, Any]:
    """Transfer a style at one size; return seconds and the card's peak memory."""
    photo, painting = (white_noise(seed, (size, size, 3)) for seed in range(2))
    optimizer = OptimizerConfig(max_iterations=iterations, jit_compile=jit_compile)
    config = dataclasses.replace(StyleConfig(), octaves=0, optimizer=optimizer)
    layers = (*config.content_layers, *config.style_layers)
    work = architecture_workload(
        load_recipe(config.network).topology,
        layers,
        size=(size, size),
        targets=[(size, size)] * 2,
        content_layers=config.content_layers,
        optimizer=optimizer,
    )
    on_gpu = device != "cpu"
    if on_gpu:
        tf.config.experimental.reset_memory_stats(device)
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    began = time.perf_counter()
    solution = rwgen.transfer_style(photo, [painting], config=config)
    seconds = time.perf_counter() - began
    tf.config.experimental.enable_tensor_float_32_execution(False)
    times = [step.seconds for step in solution.history]
    peak = tf.config.experimental.get_memory_info(device)["peak"] if on_gpu else None
    return {
        "size": size,
        "jit_compile": jit_compile,
        "tf32": tf32,
        "seconds": seconds,
        "seconds_per_iteration": float(np.median(np.diff(times[1:]))),
        "loss": solution.loss,
        "iterations": solution.iterations,
        "peak_bytes": peak,
        "estimate_bytes": work.peak_bytes(recompute=False),
    }


if __name__ == "__main__":
    main()
