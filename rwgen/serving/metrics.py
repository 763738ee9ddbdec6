"""Prometheus metrics, with TensorFlow Serving's names, types and labels for those that it also has.

TensorFlow Serving replaces the slashes in its names by colons. Times are in microseconds.
"""

from __future__ import annotations

import threading
from collections import Counter

from prometheus_client import CollectorRegistry, Histogram, generate_latest

# With the six digits that TensorFlow Serving prints.
_MICROSECONDS = tuple(float(f"{10 * 1.8**power:.6g}") for power in range(33))
_BATCH_SIZES = tuple(2.0**power for power in range(12))

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of `Metrics.text`."""


class _Counts:
    """A counter whose name does not end in `_total`, which `prometheus_client` would enforce."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def increase(self, *values: str, by: int = 1) -> None:
        with self._lock:
            self._counts[values] += by

    def text(self) -> str:
        with self._lock:
            counts = dict(self._counts)
        lines = [f"# HELP {self._name} {self._documentation}", f"# TYPE {self._name} counter"]
        for values, count in counts.items():
            pairs = zip(self._labels, map(_escaped, values), strict=True)
            labels = ",".join(f'{label}="{value}"' for label, value in pairs)
            lines.append(f"{self._name}{{{labels}}} {count}")
        return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Metrics:
    """Metrics of one server, separate from those of other servers in the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = _Counts(
            ":tensorflow:serving:request_count",
            "The total number of requests.",
            *("model_name", "status"),
        )
        self._loads = _Counts(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "The number of times a SavedModel was requested to be loaded.",
            *("model_path", "status"),
        )
        self._load_latency = _Counts(
            ":tensorflow:cc:saved_model:load_latency",
            "Latency in microseconds for SavedModels that were successfully loaded.",
            "model_path",
        )
        self._latency = self._wall_time(
            ":tensorflow:serving:request_latency", "requests", "model_name", "API", "entrypoint"
        )
        self._runtime = self._wall_time(
            ":tensorflow:serving:runtime_latency", "model runs", "model_name", "API", "runtime"
        )
        self._batches = Histogram(
            "rwgen_serving_batch_requests",
            "Number of requests that a model run answered.",
            buckets=_BATCH_SIZES,
            registry=self._registry,
        )

    def _wall_time(self, name: str, what: str, *labels: str) -> Histogram:
        text = f"Distribution of wall time in microseconds of {what}."
        return Histogram(name, text, labels, buckets=_MICROSECONDS, registry=self._registry)

    def request(self, model: str, status: str, api: str, entrypoint: str, seconds: float) -> None:
        """Count a request, and its latency if it succeeded.

        Args:
            model: name of the model, or an empty string if it is not served.
            status: status of the response, such as `OK`.
            api: name of the method, such as `predict`.
            entrypoint: `REST` or `GRPC`.
            seconds: time from the arrival of the request to the response.
        """
        self._requests.increase(model, status)
        if status == "OK":
            self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def load(self, path: str, success: bool, seconds: float) -> None:
        """Count an attempt to load a version."""
        self._loads.increase(path, "success" if success else "fail")
        if success:
            self._load_latency.increase(path, by=round(seconds * 1e6))

    def run(self, model: str, api: str, requests: int, seconds: float) -> None:
        """Count a run of a model, which answered a number of requests of a method."""
        self._batches.observe(requests)
        for _ in range(requests):  # TensorFlow Serving counts the time for each of them
            self._runtime.labels(model, api, "TF1").observe(seconds * 1e6)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        counters = (self._requests, self._loads, self._load_latency)
        texts = [counter.text().encode() for counter in counters]
        return b"".join(texts) + generate_latest(self._registry)
