"""Where an evaluation of a pyramid spends its time: its first convolution, forward and backward.

Times the convolution of the default network's first layer on an image, its gradient with respect
to the image, and the Gram matrix of its output with its gradient, each as an ordinary graph. Also
tried for the gradient: TensorFlow's convolution of the output's gradient by the reversed kernel,
one matrix product followed by 49 shifted sums, and the sub-pixel convolution that rwgen uses.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from record import write_record

from rwgen import build_network
from rwgen.compute.sub_pixel import input_gradient

SIZE = 7
CHANNELS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    height, width = options.height, options.width
    kernel = tf.constant(build_network("ranpyramid", "conv1_1").get_layer("conv1_1").kernel)
    draws = np.random.default_rng(0)
    padded = tf.constant(draws.normal(size=(1, height + 6, width + 6, 3)), tf.float32)
    outputs = tf.constant(draws.normal(size=(1, height, width, CHANNELS)), tf.float32)
    metric = tf.constant(draws.normal(size=(CHANNELS, CHANNELS)), tf.float32)
    reversed_kernel = tf.reverse(tf.transpose(kernel, [0, 1, 3, 2]), [0, 1])
    columns = tf.transpose(tf.reshape(kernel, [-1, CHANNELS]))

    def reversed_convolution(cotangent: tf.Tensor) -> tf.Tensor:
        wide = tf.pad(cotangent, [[0, 0], [6, 6], [6, 6], [0, 0]])
        return tf.nn.conv2d(wide, reversed_kernel, 1, "VALID")

    def shifted_sums(cotangent: tf.Tensor) -> tf.Tensor:
        found = tf.matmul(tf.reshape(cotangent, [-1, CHANNELS]), columns)
        found = tf.reshape(found, [1, height, width, SIZE, SIZE, 3])
        return tf.add_n(
            [
                tf.pad(found[:, :, :, i, j], [[0, 0], [i, 6 - i], [j, 6 - j], [0, 0]])
                for i in range(SIZE)
                for j in range(SIZE)
            ]
        )

    def gradient(cotangent: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.Conv2DBackpropInput(
            input_sizes=padded.shape,
            filter=kernel,
            out_backprop=cotangent,
            strides=[1, 1, 1, 1],
            padding="VALID",
        )

    def sub_pixel(cotangent: tf.Tensor) -> tf.Tensor:
        return input_gradient(cotangent, kernel)

    def gram(features: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(features, [-1, CHANNELS])
        return tf.matmul(rows, rows, transpose_a=True)

    def gram_gradient(features: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.reshape(features, [-1, CHANNELS]), metric)

    def forward(image: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(image, kernel, 1, "VALID")

    measured = {
        "convolution": _seconds(forward, padded, options.repetitions),
        "its gradient": _seconds(gradient, outputs, options.repetitions),
        "gradient, reversed convolution": _seconds(
            reversed_convolution, outputs, options.repetitions
        ),
        "gradient, shifted sums": _seconds(shifted_sums, outputs, options.repetitions),
        "gradient, sub-pixel convolution": _seconds(sub_pixel, outputs, options.repetitions),
        "Gram matrix": _seconds(gram, outputs, options.repetitions),
        "gradient of the Gram matrix": _seconds(gram_gradient, outputs, options.repetitions),
    }
    expected = gradient(outputs)
    for other in (reversed_convolution, shifted_sums, sub_pixel):
        np.testing.assert_allclose(other(outputs), expected, atol=1e-2)
    parts = ("convolution", "its gradient", "Gram matrix", "gradient of the Gram matrix")
    total = sum(measured[part]["median"] for part in parts)
    values = {
        "height": height,
        "width": width,
        "seconds": measured,
        "share of the gradient": round(measured["its gradient"]["median"] / total, 3),
    }
    print(values)
    write_record(options.output, values)


def _seconds(
    function: Callable[[tf.Tensor], tf.Tensor], argument: tf.Tensor, repetitions: int
) -> dict[str, Any]:
    compiled = tf.function(function, autograph=False)
    compiled(argument)
    found = []
    for _ in range(repetitions):
        began = time.perf_counter()
        compiled(argument)
        found.append(time.perf_counter() - began)
    return {
        "median": round(statistics.median(found), 4),
        "range": [round(min(found), 4), round(max(found), 4)],
    }


if __name__ == "__main__":
    main()
