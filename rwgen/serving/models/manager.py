"""All models of a server, and the thread that looks for new versions."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from rwgen.errors import InvalidInputError
from rwgen.serving.config import MAX_VERSION, ModelConfig
from rwgen.serving.logs import log
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.versions import ServedModel, State, VersionStatus, no_versions, not_found
from rwgen.serving.status import ServingError, invalid


@dataclass(frozen=True)
class ModelSpec:
    """What a request calls a model.

    Attributes:
        name: of the model.
        version: its number, None for the latest or the one with the label.
        label: None for none.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ServingError: INVALID_ARGUMENT.
        """
        if not self.name:
            raise invalid("ModelSpec has no name specified.")
        if self.version is not None and not 0 <= self.version <= MAX_VERSION:
            raise invalid(f"Failed to convert version: {self.version} to numeric.")


class ModelManager:
    """All models of a server.

    Args:
        models: each with a name of its own.
        poll_interval: seconds between two looks into the models' folders.
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
        """Load the first versions, and then watch for others.

        Raises:
            InvalidInputError: a model has no version that can be loaded.
        """
        for name, model in self._models.items():
            model.refresh()
            statuses = _statuses_or_none(model)
            if not any(status.state == State.AVAILABLE for status in statuses):
                errors = [status.message for status in statuses if status.message]
                received = errors[0] if errors else "none"
                raise InvalidInputError(
                    f"expected a version of {name} under {model.config.base_path} that can be "
                    f"loaded. Received: {received}"
                )
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer, and forget all models."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        for model in self._models.values():
            model.unload()

    def lease(self, spec: ModelSpec) -> AbstractContextManager[Servable]:
        """A version that stays loaded as long as the context, see `ServedModel.lease`.

        Raises:
            ServingError: NOT_FOUND.
        """
        if spec.name not in self._models:
            raise not_found(spec.name, spec.version)
        return self._models[spec.name].lease(spec.version, spec.label)

    def statuses(self, spec: ModelSpec) -> list[VersionStatus]:
        """What is known of a model's versions, see `ServedModel.statuses`.

        Raises:
            ServingError: NOT_FOUND.
        """
        if spec.name not in self._models:
            raise no_versions(spec.name)
        return self._models[spec.name].statuses(spec.version, spec.label)

    def _poll(self) -> None:
        while not self._stopped.wait(self._poll_interval):
            for model in self._models.values():
                try:
                    model.refresh()
                except Exception as error:  # the next look may go better
                    log(logging.ERROR, "poll_failed", model=model.config.name, error=error)


def _statuses_or_none(model: ServedModel) -> list[VersionStatus]:
    with contextlib.suppress(ServingError):
        return model.statuses(None, None)
    return []
