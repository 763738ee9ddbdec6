"""Warm-up requests, which a server runs before a version answers its first request.

TensorFlow allocates buffers and selects kernels when it runs a graph for the first time. TF Serving
replays the requests that it finds in `assets.extra/tf_serving_warmup_requests`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
"""Path of the requests in the folder of a version, where TF Serving expects it."""


def write_warmup(
    version: Path, model_name: str, signatures: Mapping[Any, tf.TensorSpec], size: tuple[int, int]
) -> None:
    """Write one request for each signature.

    Args:
        version: folder of a SavedModel.
        model_name: name under which the model is served.
        signatures: the single input of each signature, by the signature's name.
        size: (height, width) of the images for signatures that accept any size.
    """
    path = version / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, spec in signatures.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = name
            request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(_example(spec, size)))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def _example(spec: tf.TensorSpec, size: tuple[int, int]) -> np.ndarray:
    if spec.dtype == tf.string:
        grey = tf.io.encode_png(tf.fill([*size, 3], tf.constant(128, tf.uint8)))
        return np.array([grey.numpy()], object)
    height, width = (
        wanted if side is None else side for side, wanted in zip(spec.shape[1:3], size, strict=True)
    )
    return np.full((1, height, width, 3), 128, spec.dtype.as_numpy_dtype)
