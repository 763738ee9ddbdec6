"""The versions of a model: which are loaded, which a request gets, and when one goes.

The latest version and those with labels are kept loaded. A new one is loaded beside the old one,
which goes when the new one answers and its last request is done.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rwgen.serving.config import ModelConfig
from rwgen.serving.logs import log
from rwgen.serving.models.folders import Fingerprint, find_versions, fingerprint
from rwgen.serving.models.servable import Servable
from rwgen.serving.status import Code, ServingError, invalid

MAX_ENDED = 16
"""Versions that are remembered after they have gone."""


class State(Enum):
    """States of a version, with the numbers of TensorFlow Serving's messages."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """What is known of a version.

    Attributes:
        version: its number.
        state: where it is.
        code: OK, or why it could not be loaded.
        message: the same in words.
    """

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


@dataclass
class _Version:
    status: VersionStatus
    servable: Servable | None = None
    leases: int = 0
    failed_as: Fingerprint | None = None


class ServedModel:
    """A model and its versions.

    Args:
        config: where they are.
        observe_load: told of each attempt: the model's path, whether it succeeded, its seconds.
    """

    def __init__(
        self, config: ModelConfig, observe_load: Callable[[str, bool, float], None]
    ) -> None:
        self.config = config
        self._base_path = Path(config.base_path)
        self._observe_load = observe_load
        self._lock = threading.Lock()
        self._versions: dict[int, _Version] = {}
        self._said_missing = False

    @contextlib.contextmanager
    def lease(self, version: int | None, label: str | None) -> Iterator[Servable]:
        """A version that stays loaded as long as the context.

        Args:
            version: its number, None for the latest.
            label: a label instead of a number, None for none.

        Raises:
            ServingError: NOT_FOUND, or INVALID_ARGUMENT for a label that nobody gave.
        """
        if label is not None:
            if label not in self.config.version_labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            version = self.config.version_labels[label]
        with self._lock:
            found = self._latest() if version is None else self._versions.get(version)
            if found is None or found.servable is None or found.status.state != State.AVAILABLE:
                raise not_found(self.config.name, version)
            found.leases += 1
            servable = found.servable
        try:
            yield servable
        finally:
            with self._lock:
                found.leases -= 1

    def statuses(self, version: int | None, label: str | None) -> list[VersionStatus]:
        """What is known of one version, or of all, the latest first.

        Raises:
            ServingError: NOT_FOUND, or INVALID_ARGUMENT for a label that nobody gave.
        """
        if label is not None:
            if label not in self.config.version_labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            version = self.config.version_labels[label]
        with self._lock:
            known = {number: entry.status for number, entry in self._versions.items()}
        if version is None and known:
            return [known[number] for number in sorted(known, reverse=True)]
        if version is None:
            raise no_versions(self.config.name)
        if version not in known:
            raise ServingError(
                Code.NOT_FOUND, f"Could not find version {version} of model {self.config.name}"
            )
        return [known[version]]

    def refresh(self) -> None:
        """Load what is new and unload what is no longer wanted. For one thread at a time."""
        found = find_versions(self._base_path)
        if not found:
            self._say_missing()
            self._finish_unloading()
            return
        self._said_missing = False
        latest = max(found)
        wanted = {latest} | (set(self.config.version_labels.values()) & set(found))
        for version in sorted(wanted, reverse=True):
            self._load_if_new(version, found[version])
        with self._lock:
            available = {
                number
                for number, entry in self._versions.items()
                if entry.status.state == State.AVAILABLE
            }
            if latest not in available and available:
                wanted.add(max(available))  # it answers until the latest can
            for version in available - wanted:
                self._set(version, State.UNLOADING)
        self._finish_unloading()

    def unload(self) -> None:
        """Forget all versions, when the server has stopped."""
        with self._lock:
            self._versions.clear()

    def _latest(self) -> _Version | None:
        """The highest version that answers. Under the lock."""
        numbers = [
            number
            for number, entry in self._versions.items()
            if entry.status.state == State.AVAILABLE
        ]
        return self._versions[max(numbers)] if numbers else None

    def _load_if_new(self, version: int, path: Path) -> None:
        with self._lock:
            entry = self._versions.get(version)
            if entry is not None and entry.status.state in (State.AVAILABLE, State.UNLOADING):
                return
            files = fingerprint(path)
            if entry is not None and entry.failed_as == files:
                return  # it would fail again
            self._versions[version] = entry = _Version(VersionStatus(version, State.START))
            self._set(version, State.LOADING)
        start = time.monotonic()
        try:
            servable = Servable(path, self.config.name, version)
        except ServingError as error:
            with self._lock:
                entry.failed_as = files
                self._set(version, State.END, error.code, error.message)
            loaded = False
        else:
            with self._lock:
                entry.servable = servable
                self._set(version, State.AVAILABLE)
            loaded = True
        self._observe_load(str(path), loaded, time.monotonic() - start)

    def _finish_unloading(self) -> None:
        """Free the versions whose last request is done."""
        with self._lock:
            done = [
                number
                for number, entry in self._versions.items()
                if entry.status.state == State.UNLOADING and not entry.leases
            ]
            for number in done:
                self._versions[number].servable = None
                self._set(number, State.END)
            ended = [
                number
                for number, entry in sorted(self._versions.items())
                if entry.status.state == State.END and entry.failed_as is None
            ]
            for number in ended[:-MAX_ENDED]:
                del self._versions[number]
        if done:
            # A loaded model refers to itself in circles.
            gc.collect()

    def _say_missing(self) -> None:
        with self._lock:
            kept = self._latest()
        if kept is not None and not self._said_missing:
            self._said_missing = True
            log(
                logging.WARNING,
                "removal_refused",
                model=self.config.name,
                version=kept.status.version,
                reason="no version folder is left, so the last version stays",
            )

    def _set(self, version: int, state: State, code: Code = Code.OK, message: str = "") -> None:
        self._versions[version].status = VersionStatus(version, state, code, message)
        log(
            logging.ERROR if code else logging.INFO,
            "version_state",
            model=self.config.name,
            version=version,
            state=state.name,
            **({"error": message} if code else {}),
        )


def not_found(name: str, version: int | None) -> ServingError:
    """No such model or version answers, in TensorFlow Serving's words."""
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")


def no_versions(name: str) -> ServingError:
    """No such model is known, in TensorFlow Serving's words."""
    return ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
