"""One evaluation of the default style against that of neural-style's objective in PyTorch.

The peer is the objective that users of a trained VGG-19 wait for: all of its widths, Gram matrices
of relu1_1 to relu5_1 and content of relu4_2 (Gatys et al.), computed eagerly by PyTorch with random
weights, which take as long as trained ones, in the faster of both memory formats. Evaluations of
loss and gradient alternate within one process; ratios are taken within a turn.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
import torch
from record import write_record

from rwgen import StyleConfig, build_network
from rwgen.compute.plan import ComputePlan
from rwgen.network.architecture import VGG19
from rwgen.network.preprocess import network_input
from rwgen.noise import white_noise
from rwgen.synthesis.objectives import style_objective

STYLE_LAYERS = {(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)}
CONTENT_LAYER = (4, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["384x512", "768x1024"], help="HEIGHTxWIDTH")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rows = []
    for text in options.sizes:
        height, width = map(int, text.split("x"))
        calls = {"rwgen": _rwgen((height, width))}
        for name, order in (
            ("torch nchw", torch.contiguous_format),
            ("torch nhwc", torch.channels_last),
        ):
            calls[name] = _neural_style((height, width), order)
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(options.repeats + 1):
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                if turn:  # the first one traces, and fills caches
                    seconds[name].append(time.perf_counter() - began)
        best = min((name for name in calls if name != "rwgen"), key=lambda x: min(seconds[x]))
        ratios = np.divide(seconds["rwgen"], seconds[best])
        quartiles = (25, 50, 75)
        rows.append(
            {
                "size": text,
                "best_torch": best,
                "ratio": [float(value) for value in np.percentile(ratios, quartiles)],
                "seconds": {
                    name: [float(value) for value in np.percentile(values, quartiles)]
                    for name, values in seconds.items()
                },
            }
        )
        print(rows[-1], flush=True)
    write_record(options.output, {"repeats": options.repeats, "results": rows})


def _rwgen(size: tuple[int, int]) -> Callable[[], None]:
    photo, painting, point = (network_input(white_noise(seed, (*size, 3))) for seed in range(3))
    config, plan = StyleConfig(), ComputePlan(jit_compile=False)
    network = plan.network(build_network(config.network, "conv4_1"))
    objective = style_objective(network, photo, [painting], config, plan)
    image = tf.constant(point)

    @tf.function(autograph=False)
    def evaluate(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.add_n(list(objective(image).values()))
        return loss, tape.gradient(loss, image)

    return lambda: evaluate(image)[1].numpy()


def _neural_style(size: tuple[int, int], order: torch.memory_format) -> Callable[[], None]:
    torch.manual_seed(0)
    layers, channels = {}, 3
    for block, (width, count) in enumerate(VGG19.blocks, start=1):
        for number in range(1, count + 1):
            if (block, number) > max(STYLE_LAYERS):
                break
            layers[block, number] = torch.nn.Conv2d(channels, width, 3, padding=1)
            channels = width
    model = torch.nn.ModuleList(layers.values()).to(memory_format=order).requires_grad_(False)

    def read(image: torch.Tensor) -> tuple[dict[tuple[int, int], torch.Tensor], torch.Tensor]:
        grams, content, features = {}, image, image
        for (place, _), layer in zip(layers.items(), model, strict=True):
            if place[1] == 1 and place[0] > 1:
                features = torch.nn.functional.avg_pool2d(features, 2)
            features = torch.relu(layer(features))
            if place in STYLE_LAYERS:
                rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
                grams[place] = rows.T @ rows / len(rows)
            if place == CONTENT_LAYER:
                content = features
        return grams, content

    draws = [torch.rand(1, 3, *size).to(memory_format=order) for _ in range(3)]
    with torch.no_grad():
        content, styles = read(draws[0])[1], read(draws[1])[0]

    def evaluate() -> None:
        image = draws[2].clone().requires_grad_()
        grams, found = read(image)
        loss = torch.nn.functional.mse_loss(found, content)
        for place, gram in grams.items():
            loss = loss + torch.nn.functional.mse_loss(gram, styles[place])
        torch.autograd.grad(loss, image)

    return evaluate


if __name__ == "__main__":
    main()
