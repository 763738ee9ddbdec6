"""Whether several styles of one shape should be searched in one graph: a prototype.

The objective of the default style transfer is evaluated, with its gradient, for one, two and four
images: one after the other, each with targets of its own, and all at once with a leading
dimension. Both are ordinary graphs, as rwgen runs them for the default network, and take turns in
one process. A ratio below 1 says that the batch is faster.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from record import write_record

from rwgen import StyleConfig, build_network, feature_extractor, load_recipe
from rwgen.compute.device import use_device
from rwgen.compute.plan import ComputePlan
from rwgen.network.preprocess import network_input
from rwgen.noise import white_noise
from rwgen.synthesis.losses import content_loss, gram_loss, total_variation
from rwgen.synthesis.objectives import style_objective

Values = Mapping[str, Any]
Evaluation = Callable[..., tuple[tf.Tensor, tf.Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4], help="images at once")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    with use_device(options.device):
        for size in options.sizes:
            for row in compare(size, options.counts, options.rounds):
                print(row, flush=True)
                rows.append(row)
    load = os.getloadavg()[0]
    write_record(
        options.output, {"rounds": options.rounds, "load_average_at_the_end": load, "rows": rows}
    )


def compare(size: int, counts: list[int], rounds: int) -> list[dict[str, Any]]:
    """Seconds of one round of evaluations, one after the other and at once, for each count."""
    config = StyleConfig()
    plan = ComputePlan(jit_compile=False)
    network = plan.network(build_network(load_recipe(config.network), "conv4_1"))
    shape = (size, size, 3)
    pictures = [network_input(white_noise(seed, shape)) for seed in range(3 * max(counts))]
    photos, paintings, points = pictures[0::3], pictures[1::3], pictures[2::3]
    objectives = [
        style_objective(network, photo, [painting], config, plan)
        for photo, painting in zip(photos, paintings, strict=True)
    ]

    @tf.function(autograph=False)
    def one(point: tf.Tensor, values: Values) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(point)
            loss = tf.add_n(list(objectives[0].terms(point, values).values()))
        return loss, tape.gradient(loss, point)

    extractor = feature_extractor(network, (*config.content_layers, *config.style_layers))

    @tf.function(autograph=False)
    def at_once(points: tf.Tensor, values: Values) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(points)
            losses = batched_losses(extractor(points), points, values)
            total = tf.reduce_sum(losses)
        return losses, tape.gradient(total, points)

    rows = []
    for count in counts:
        singles = [
            (tf.constant(point), objective.values)
            for point, objective in zip(points[:count], objectives[:count], strict=True)
        ]
        together = (
            tf.concat([point for point, _ in singles], axis=0),
            tf.nest.map_structure(lambda *parts: tf.stack(parts), *[v for _, v in singles]),
        )
        expected = [one(*single) for single in singles]
        losses, gradients = at_once(*together)
        np.testing.assert_allclose(losses, [loss for loss, _ in expected], rtol=1e-4)
        for gradient, (_, wanted) in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(
                gradient, wanted[0], atol=1e-3 * float(tf.reduce_max(tf.abs(wanted)))
            )
        seconds: dict[str, list[float]] = {"one after the other": [], "at once": []}
        for _ in range(rounds):
            began = time.perf_counter()
            for single in singles:
                one(*single)[1].numpy()
            middle = time.perf_counter()
            at_once(*together)[1].numpy()
            seconds["one after the other"].append(middle - began)
            seconds["at once"].append(time.perf_counter() - middle)
        ratios = np.divide(seconds["at once"], seconds["one after the other"])
        rows.append(
            {
                "size": size,
                "images": count,
                "seconds": {way: quartiles(values) for way, values in seconds.items()},
                "ratio": quartiles(ratios),
            }
        )
    return rows


def batched_losses(
    features: Mapping[str, tf.Tensor], points: tf.Tensor, values: Values
) -> tf.Tensor:
    """Losses of the default style transfer, [batch], as `style_objective` has them for one image.

    Args:
        features: [batch, height, width, channels] by layer.
        points: network input, [batch, height, width, 3].
        values: those of the objectives of all images, stacked.
    """
    losses = values["tv"] * total_variation(points)
    for name, of_layer in values["content"].items():
        loss = content_loss(features[name], of_layer["target"][:, 0])
        losses += of_layer["factor"] * of_layer["gain"] ** 2 * loss
    for name, (of_layer,) in values["style"].items():
        gram = gram_matrices(features[name] - of_layer["shift"][:, 0])
        metric = of_layer["whitening"]
        gram = tf.matmul(metric, tf.matmul(gram, metric), transpose_a=True)
        gram *= of_layer["gain"][:, tf.newaxis, tf.newaxis] ** 2
        losses += of_layer["factor"] * gram_loss(gram, of_layer["target"][:, 0])
    return losses


def gram_matrices(features: tf.Tensor) -> tf.Tensor:
    """As `rwgen.synthesis.guides.guided_gram`, for a batch: one product a gradient."""
    batch, height, width, channels = features.shape
    matrix = tf.reshape(features, [batch, height * width, channels])
    gram = tf.matmul(tf.stop_gradient(matrix), matrix, transpose_a=True) / (height * width)
    return gram + tf.linalg.matrix_transpose(gram) - tf.stop_gradient(gram)


def quartiles(values: Any) -> list[float]:
    return [float(value) for value in np.percentile(values, (25, 50, 75))]


if __name__ == "__main__":
    main()
