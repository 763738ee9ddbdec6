"""The versions of a model: which are loaded, which one answers a request, when one is unloaded.

The latest version and all labeled versions are kept loaded. A new version is loaded alongside the
old one, which is unloaded once the new one is available and its own last request has finished.
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

from rwgen.errors import InvalidInputError
from rwgen.serving.config import ModelConfig
from rwgen.serving.logs import log
from rwgen.serving.models.folders import Fingerprint, find_versions, fingerprint
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.spec import ModelSpec
from rwgen.serving.status import Code, ServingError, invalid

MAX_ENDED = 16
"""Maximum number of unloaded versions whose status is kept."""


class State(Enum):
    """States of a version, numbered as in TensorFlow Serving's messages."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """Status of a version.

    Attributes:
        version: version number.
        state: state in the version's life cycle.
        code: OK, or the reason why the version could not be loaded.
        message: error message, empty for OK.
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
        config: name, folder and labels.
        observe_load: called after each attempt to load a version with its path, whether it
            succeeded, and the seconds it took.
    """

    def __init__(
        self, config: ModelConfig, observe_load: Callable[[str, bool, float], None]
    ) -> None:
        self.config = config
        self._base_path = Path(config.base_path)
        self._observe_load = observe_load
        self._lock = threading.Lock()
        self._versions: dict[int, _Version] = {}
        self._warned_missing = False

    @contextlib.contextmanager
    def lease(self, spec: ModelSpec) -> Iterator[Servable]:
        """Return a version that stays loaded within the context.

        Args:
            spec: the version to lease; by default the latest one that is available.

        Raises:
            ServingError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        version = self._version_of(spec)
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

    def statuses(self, spec: ModelSpec) -> list[VersionStatus]:
        """Return the status of one version, or of all versions, latest first.

        Raises:
            ServingError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        version = self._version_of(spec)
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

    def load(self) -> None:
        """Load the first versions.

        Raises:
            InvalidInputError: no version can be loaded.
        """
        self.refresh()
        with self._lock:
            if self._latest() is not None:
                return
            versions = sorted(self._versions.items(), reverse=True)
        reasons = [entry.status.message for _, entry in versions if entry.status.message]
        raise InvalidInputError(
            f"expected a loadable version of {self.config.name} under {self.config.base_path}. "
            f"Received: {reasons[0] if reasons else 'none'}"
        )

    def refresh(self) -> None:
        """Load new versions and unload those no longer wanted. Must not run concurrently."""
        found = find_versions(self._base_path)
        if self.config.version is not None:
            found = {key: path for key, path in found.items() if key == self.config.version}
        if not found:
            self._warn_missing()
            self._finish_unloading()
            return
        self._warned_missing = False
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
                wanted.add(max(available))  # serves until the latest version is available
            for version in available - wanted:
                self._set(version, State.UNLOADING)
        self._finish_unloading()

    def unload(self) -> None:
        """Drop all versions, after the server has stopped."""
        with self._lock:
            self._versions.clear()

    def _version_of(self, spec: ModelSpec) -> int | None:
        """Return the version number that a request names, or None for the latest version."""
        if spec.label is None:
            return spec.version
        if spec.label not in self.config.version_labels:
            raise invalid(f"Unrecognized servable version label: {spec.label}")
        return self.config.version_labels[spec.label]

    def _latest(self) -> _Version | None:
        """Return the highest available version, or None. The caller holds the lock."""
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
                return  # unchanged files would fail again
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
        """Free the versions whose last request has finished."""
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
            # A loaded model contains reference cycles.
            gc.collect()

    def _warn_missing(self) -> None:
        with self._lock:
            kept = self._latest()
        if kept is not None and not self._warned_missing:
            self._warned_missing = True
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
    """Return the error for a model or version that is not available, as in TensorFlow Serving."""
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")


def no_versions(name: str) -> ServingError:
    """Return the error for a model without versions, as in TensorFlow Serving."""
    return ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
