"""Prometheus metrics, under TensorFlow Serving's names for those that it also has.

TensorFlow Serving replaces the slashes in its names by colons. Times are in microseconds.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_MICROSECONDS = tuple(10 * 1.8**power for power in range(33))
_BATCH_SIZES = tuple(2.0**power for power in range(12))

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of `Metrics.text`."""


class _Counts(Collector):
    """A counter whose name does not end in `_total`, which `prometheus_client` would enforce."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...]) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def increase(self, *values: str) -> None:
        with self._lock:
            self._counts[values] += 1

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, self._documentation, "unknown")
        with self._lock:
            counts = dict(self._counts)
        for values, count in counts.items():
            labels = dict(zip(self._labels, values, strict=True))
            metric.add_sample(self._name, labels, count)
        yield metric


class Metrics:
    """Metrics of one server, separate from those of other servers in the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = _Counts(
            ":tensorflow:serving:request_count",
            "The total number of requests.",
            ("model_name", "status"),
        )
        self._loads = _Counts(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "The number of times a SavedModel was requested to be loaded.",
            ("model_path", "status"),
        )
        self._registry.register(self._requests)
        self._registry.register(self._loads)
        self._latency = self._wall_time(
            ":tensorflow:serving:request_latency", "requests", "model_name", "API", "entrypoint"
        )
        self._load_latency = self._wall_time(
            ":tensorflow:cc:saved_model:load_latency", "loading, warm-up included", "model_path"
        )
        self._runtime = self._wall_time(":tensorflow:serving:runtime_latency", "model runs")
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
        """Count a request.

        Args:
            model: name of the model, or an empty string if it is not served.
            status: status of the response, such as `OK`.
            api: name of the method, such as `predict`.
            entrypoint: `REST` or `GRPC`.
            seconds: time from the arrival of the request to the response.
        """
        self._requests.increase(model, status)
        self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def load(self, path: str, success: bool, seconds: float) -> None:
        """Count an attempt to load a version."""
        self._loads.increase(path, "success" if success else "fail")
        self._load_latency.labels(path).observe(seconds * 1e6)

    def run(self, requests: int, seconds: float) -> None:
        """Count a run of a model."""
        self._batches.observe(requests)
        self._runtime.observe(seconds * 1e6)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
