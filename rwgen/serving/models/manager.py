"""All models of a server, and the thread that looks for new versions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from rwgen.errors import InvalidInputError
from rwgen.serving.config import ModelConfig
from rwgen.serving.logs import log
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.spec import ModelSpec
from rwgen.serving.models.versions import ServedModel, VersionStatus, no_versions, not_found


class ModelManager:
    """All models of a server.

    Args:
        models: the models, with distinct names.
        poll_interval: seconds between two scans of the model folders.
        observe_load: see `ServedModel`.
    """

    def __init__(
        self,
        models: Sequence[ModelConfig],
        poll_interval: float,
        observe_load: Callable[[str, bool, float], None],
    ) -> None:
        self._models = {model.name: ServedModel(model, observe_load) for model in models}
        self._poll_interval = poll_interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="rwgen-versions", daemon=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self._models)

    def start(self) -> None:
        """Load the first versions, then watch for others.

        A model without a version that can be loaded does not keep the others from being served;
        its status reports the error, and a version that appears later is loaded.

        Raises:
            InvalidInputError: no model has a version that can be loaded.
        """
        failures = []
        for model in self._models.values():
            try:
                model.load()
            except InvalidInputError as error:
                failures.append(error)
                log(logging.ERROR, "model_failed", model=model.config.name, error=error)
        if len(failures) == len(self._models):
            raise failures[0]
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and drop all models."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        for model in self._models.values():
            model.unload()

    def lease(self, spec: ModelSpec) -> AbstractContextManager[Servable]:
        """Return a version that stays loaded within the context, see `ServedModel.lease`.

        Raises:
            ServingError: NOT_FOUND.
        """
        if spec.name not in self._models:
            raise not_found(spec.name, spec.version)
        return self._models[spec.name].lease(spec)

    def statuses(self, spec: ModelSpec) -> list[VersionStatus]:
        """Return the status of a model's versions, see `ServedModel.statuses`.

        Raises:
            ServingError: NOT_FOUND.
        """
        if spec.name not in self._models:
            raise no_versions(spec.name)
        return self._models[spec.name].statuses(spec)

    def _poll(self) -> None:
        while not self._stopped.wait(self._poll_interval):
            for model in self._models.values():
                try:
                    model.refresh()
                except Exception as error:  # the next scan may succeed
                    log(logging.ERROR, "poll_failed", model=model.config.name, error=error)
