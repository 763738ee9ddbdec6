"""All models of a server, and the threads that look for new versions and new models."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from rwgen.serving.config import ModelConfig, ServerConfig
from rwgen.serving.logs import log
from rwgen.serving.model_config import read_models
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.spec import ModelSpec
from rwgen.serving.models.versions import ServedModel, VersionStatus, no_versions, not_found
from rwgen.serving.status import Code, ServingError

SETTLE_SECONDS = 1.0
"""Interval of retries and unloading, if the folders of models are not scanned."""


class ModelManager:
    """All models of a server.

    Args:
        models: the models, with distinct names.
        config: intervals, and when loading is retried.
        observe_load: see `ServedModel`.
    """

    def __init__(
        self,
        models: Sequence[ModelConfig],
        config: ServerConfig,
        observe_load: Callable[[str, bool, float], None],
    ) -> None:
        self._config = config
        self._observe_load = observe_load
        # Replaced as a whole when the models change, so that requests see either all or nothing.
        self._models = {model.name: self._served(model) for model in models}
        self._retired: list[ServedModel] = []
        self._changing = threading.Lock()
        self._refused = ""
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self._models)

    def start(self) -> None:
        """Load the first versions, then watch for others.

        A model without a version that can be loaded does not keep the others from being served;
        its status reports the error, and a version that appears later is loaded. With
        `wait_for_models`, this returns when no model can be waited for any longer.

        Raises:
            InvalidInputError: no model has a version that can be loaded.
        """
        interval = self._config.poll_interval or SETTLE_SECONDS
        told: set[str] = set()
        while True:
            for model in self._models.values():
                model.refresh()
            missing = [model for model in self._models.values() if not model.is_available]
            waiting = [model for model in missing if model.may_become_available]
            if not self._config.wait_for_models or not waiting:
                break
            for model in waiting:
                if model.config.name not in told:
                    told.add(model.config.name)
                    log(logging.WARNING, "waiting", model=model.config.name, reason=model.failure())
            if self._stopped.wait(interval):
                return
        for model in missing:
            log(logging.ERROR, "model_failed", model=model.config.name, error=model.failure())
        if missing and len(missing) == len(self._models):
            raise missing[0].failure()
        self._watch(interval, self._refresh)
        config = self._config
        if config.model_config_file is not None and config.config_poll_interval is not None:
            self._watch(config.config_poll_interval, self._reload_file)

    def stop(self) -> None:
        """Stop watching, and drop all models."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for model in (*self._models.values(), *self._retired):
            model.unload()

    def lease(self, spec: ModelSpec) -> AbstractContextManager[Servable]:
        """Return a version that stays loaded within the context, see `ServedModel.lease`.

        Raises:
            ServingError: NOT_FOUND.
        """
        model = self._models.get(spec.name)
        if model is None:
            raise not_found(spec.name, spec.version)
        return model.lease(spec)

    def statuses(self, spec: ModelSpec) -> list[VersionStatus]:
        """Return the status of a model's versions, see `ServedModel.statuses`.

        Raises:
            ServingError: NOT_FOUND.
        """
        model = self._models.get(spec.name)
        if model is None:
            raise no_versions(spec.name)
        return model.statuses(spec)

    def reload(self, models: Sequence[ModelConfig]) -> None:
        """Serve other models, or the same ones with other labels, folders or versions.

        Models that stay are served without interruption. Requests in flight finish on the version
        that they began with, also those for models that are no longer served.

        Args:
            models: all models to serve, with distinct names.

        Raises:
            ServingError: FAILED_PRECONDITION if a label may not be assigned, in which case nothing
                changes; UNKNOWN if a new model has no version that can be loaded, in which case the
                new configuration holds nevertheless, as in TensorFlow Serving.
        """
        with self._changing:
            before = self._models
            for config in models:
                self._check_labels(config, before.get(config.name))
            after = {
                config.name: before.get(config.name) or self._served(config) for config in models
            }
            for config in models:
                after[config.name].config = config
            self._models = after
            for model in after.values():
                model.refresh()
            self._retired += [model for name, model in before.items() if name not in after]
            self._finish_retiring()
            missing = [
                model
                for name, model in after.items()
                if name not in before and not model.is_available
            ]
        log(logging.INFO, "reloaded", models=" ".join(after))
        if missing:
            reasons = "".join(f"{{{model.config.name}: {model.failure()}}}, " for model in missing)
            raise ServingError(
                Code.UNKNOWN, f"{len(missing)} model(s) did not become available: {{{reasons}}}"
            )

    def _served(self, config: ModelConfig) -> ServedModel:
        return ServedModel(config, self._config, self._observe_load)

    def _check_labels(self, config: ModelConfig, served: ServedModel | None) -> None:
        """Check that labels name versions that are available, as TensorFlow Serving does.

        With `allow_unavailable_labels`, only labels that named another version must.
        """
        assigned = {} if served is None else served.config.version_labels
        for label, version in config.version_labels.items():
            is_unused = assigned.get(label, version) == version
            if self._config.allow_unavailable_labels and is_unused:
                continue
            if served is None or not served.has_available(version):
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {config.name}, which "
                    "is not currently available for inference",
                )

    def _watch(self, interval: float, look: Callable[[], None]) -> None:
        def repeat() -> None:
            while not self._stopped.wait(interval):
                look()

        thread = threading.Thread(target=repeat, name=f"rwgen{look.__name__}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _refresh(self) -> None:
        with self._changing:
            for model in self._models.values():
                try:
                    if self._config.poll_interval is None:
                        model.settle()
                    else:
                        model.refresh()
                except Exception as error:  # the next scan may succeed
                    log(logging.ERROR, "poll_failed", model=model.config.name, error=error)
            self._finish_retiring()

    def _finish_retiring(self) -> None:
        self._retired = [model for model in self._retired if not model.retire()]

    def _reload_file(self) -> None:
        path = str(self._config.model_config_file)
        problem = ""
        try:
            models = read_models(path)
            served = tuple(model.config for model in self._models.values())
            if models is not None and models != served:
                self.reload(models)
        except Exception as error:  # the file may be half written, or be corrected
            problem = str(error)
            if problem != self._refused:
                log(logging.ERROR, "config_refused", file=path, error=problem)
        self._refused = problem
