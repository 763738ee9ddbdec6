"""Responses to Classify, Regress and MultiInference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from rwgen.serving.models.inference import Classification, Inference, Regression
from rwgen.serving.models.servable import Servable


def one_response(
    servable: Servable, inference: Inference, result: Classification | Regression
) -> bytes:
    """Return the serialized response to Classify or Regress.

    Raises:
        ServingError: INVALID_ARGUMENT, for a label that is not UTF-8.
    """
    if isinstance(result, Classification):
        response = classification_pb2.ClassificationResponse()
    else:
        response = regression_pb2.RegressionResponse()
    _fill_spec(response.model_spec, servable, inference)
    _fill(response.result, result)
    return bytes(response.SerializeToString())


def multi_response(
    servable: Servable,
    inferences: Sequence[Inference],
    results: Sequence[Classification | Regression],
) -> bytes:
    """Return the serialized response to MultiInference, with a result for each inference.

    Raises:
        ServingError: INVALID_ARGUMENT, for a label that is not UTF-8.
    """
    response = inference_pb2.MultiInferenceResponse()
    for inference, result in zip(inferences, results, strict=True):
        entry = response.results.add()
        _fill_spec(entry.model_spec, servable, inference)
        if isinstance(result, Classification):
            _fill(entry.classification_result, result)
        else:
            _fill(entry.regression_result, result)
    return bytes(response.SerializeToString())


def _fill_spec(spec: Any, servable: Servable, inference: Inference) -> None:
    spec.name = servable.name
    spec.signature_name = inference.signature.name
    spec.version.value = servable.version


def _fill(proto: Any, result: Classification | Regression) -> None:
    if isinstance(result, Regression):
        for value in result.values.tolist():
            proto.regressions.add(value=value)
        return
    for labels, scores in zip(result.texts(), result.scores.tolist(), strict=True):
        classes = proto.classifications.add().classes
        for label, score in zip(labels, scores, strict=True):
            classes.add(label=label, score=score)
