"""What the REST and gRPC interfaces share: models, limits, and the record of every request."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rwgen.serving.admission import Gate, Turns
from rwgen.serving.config import ServerConfig
from rwgen.serving.logs import log
from rwgen.serving.metrics import Metrics
from rwgen.serving.models.manager import ModelManager
from rwgen.serving.models.servable import as_serving_error
from rwgen.serving.models.spec import ModelSpec
from rwgen.serving.predict import Predictor
from rwgen.serving.status import Code


@dataclass
class Record:
    """A request as the metrics see it.

    Attributes:
        start: arrival of the request on the clock of `time.monotonic`.
        model: name of the model of a request that runs it, empty if it is unknown or not served;
            None for other requests, which are not counted.
        api: name of the method. As in TensorFlow Serving, it is the end of the path of a REST
            request, such as `predict`, and gRPC's name, such as `Predict`.
    """

    start: float
    model: str | None = None
    api: str = ""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What an interface needs to answer requests.

    Attributes:
        config: limits and paths.
        manager: the models.
        predictor: runs signatures.
        gate: admits requests.
        turns: lets REST and gRPC take turns.
        metrics: counts requests.
    """

    config: ServerConfig
    manager: ModelManager
    predictor: Predictor
    gate: Gate
    turns: Turns
    metrics: Metrics

    def served_name(self, spec: ModelSpec) -> str:
        """Return the name of a model if it is served, and an empty string otherwise.

        Metrics must not repeat names that clients make up: each name takes memory.
        """
        return spec.name if spec.name in self.manager.names else ""

    @contextlib.contextmanager
    def record(self, interface: str, **fields: object) -> Iterator[Record]:
        """Log a request, and count it if it runs a model.

        Args:
            interface: `REST` or `GRPC`.
            **fields: further fields for the log.

        Raises:
            ServingError: in place of any other exception within the context.
        """
        record = Record(time.monotonic())
        status = Code.CANCELLED
        try:
            yield record
            status = Code.OK
        except Exception as error:
            failure = as_serving_error(error)
            status = failure.code
            fields["error"] = failure
            raise failure from None
        finally:
            seconds = time.monotonic() - record.start
            if record.model is not None:
                self.metrics.request(record.model, status.name, record.api, interface, seconds)
            log(
                logging.ERROR if status == Code.INTERNAL else logging.DEBUG,
                "request",
                api=interface,
                status=status.name,
                seconds=seconds,
                **fields,
            )
