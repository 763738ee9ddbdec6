"""The versions of a model: which are loaded, which one answers a request, when one is unloaded.

The versions that the model's policy asks for, and all labeled versions, are kept loaded. A new
version is loaded alongside the old one, which is unloaded once the new one is available and its own
last request has finished.
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
from rwgen.serving.config import ModelConfig, ServerConfig
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


@dataclass(frozen=True)
class _Failure:
    """Attempts to load the same files, all of which failed."""

    files: Fingerprint
    attempts: int
    retry_at: float


@dataclass
class _Version:
    status: VersionStatus
    path: Path
    servable: Servable | None = None
    leases: int = 0
    failure: _Failure | None = None


class ServedModel:
    """A model and its versions.

    Args:
        config: name, folder, labels and policy.
        limits: when loading is retried, and with how many threads a version runs.
        observe_load: called after each attempt to load a version with its path, whether it
            succeeded, and the seconds it took.

    Attributes:
        config: see above; assigning another one for the same name takes effect with `refresh`.
    """

    def __init__(
        self,
        config: ModelConfig,
        limits: ServerConfig,
        observe_load: Callable[[str, bool, float], None],
    ) -> None:
        self.config = config
        self._limits = limits
        self._observe_load = observe_load
        self._lock = threading.Lock()
        self._found: dict[int, Path] = {}
        self._versions: dict[int, _Version] = {}
        self._replaced: list[_Version] = []
        self._warned_missing = False

    @property
    def is_available(self) -> bool:
        """Whether a version is available."""
        with self._lock:
            return self._latest() is not None

    def has_available(self, version: int) -> bool:
        """Return whether a version is available."""
        with self._lock:
            entry = self._versions.get(version)
            return entry is not None and entry.status.state == State.AVAILABLE

    @property
    def may_become_available(self) -> bool:
        """Whether waiting can help: there is no version yet, or loading one will be retried."""
        wanted = self._wanted()
        with self._lock:
            failures = [
                entry.failure
                for number, entry in self._versions.items()
                if number in wanted and entry.failure is not None
            ]
        return not wanted or any(
            failure.attempts <= self._limits.max_load_retries for failure in failures
        )

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

    def failure(self) -> InvalidInputError:
        """Return the error for a model without any version that can be loaded."""
        with self._lock:
            versions = sorted(self._versions.items(), reverse=True)
        reasons = [entry.status.message for _, entry in versions if entry.status.message]
        return InvalidInputError(
            f"expected a loadable version of {self.config.name} under {self.config.base_path}. "
            f"Received: {reasons[0] if reasons else 'none'}"
        )

    def refresh(self) -> None:
        """Look for versions, load new ones, and unload those no longer wanted.

        Must not run concurrently, nor with `settle` and `retire`.
        """
        self._found = find_versions(Path(self.config.base_path))
        self.settle()

    def settle(self) -> None:
        """Do what `refresh` does, with the versions that it found last."""
        wanted = self._wanted()
        if not wanted:
            self._warn_missing()
            self._finish_unloading()
            return
        self._warned_missing = False
        latest = max(wanted)
        for version in sorted(wanted, reverse=True):
            self._load_if_new(version, self._found[version])
        with self._lock:
            available = self._available()
            if latest not in available and available:
                wanted.add(max(available))  # serves until the latest version is available
            for version in available - wanted:
                self._set(version, State.UNLOADING)
        self._finish_unloading()

    def retire(self) -> bool:
        """Unload all versions that serve no request.

        Returns:
            Whether no version is left.
        """
        with self._lock:
            for version in self._available():
                self._set(version, State.UNLOADING)
        self._finish_unloading()
        with self._lock:
            left = [entry for entry in self._versions.values() if entry.servable is not None]
        return not left and not self._replaced

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

    def _wanted(self) -> set[int]:
        """Return the versions to serve, of those that were found."""
        config, found = self.config, sorted(self._found)
        if config.versions:
            return set(config.versions) & set(found)
        latest = found if config.latest is None else found[-config.latest :]
        return set(latest) | (set(config.version_labels.values()) & set(found))

    def _available(self) -> set[int]:
        """Return the available versions. The caller holds the lock."""
        return {
            number
            for number, entry in self._versions.items()
            if entry.status.state == State.AVAILABLE
        }

    def _latest(self) -> _Version | None:
        """Return the highest available version, or None. The caller holds the lock."""
        numbers = self._available()
        return self._versions[max(numbers)] if numbers else None

    def _load_if_new(self, version: int, path: Path) -> None:
        attempts = 1
        with self._lock:
            entry = self._versions.get(version)
            is_loaded = entry is not None and entry.servable is not None
            if entry is not None and is_loaded and entry.path == path:
                return
            files = fingerprint(path)
            if entry is not None and entry.failure is not None and entry.failure.files == files:
                attempts += entry.failure.attempts
                is_last = attempts > self._limits.max_load_retries + 1
                if is_last or time.monotonic() < entry.failure.retry_at:
                    return
            # A version whose model now has another folder serves until the new files are loaded.
            if entry is None or not is_loaded:
                entry = _Version(VersionStatus(version, State.START), path)
                self._versions[version] = entry
                self._set(version, State.LOADING)
        start = time.monotonic()
        threads = (self._limits.intra_op_threads, self._limits.inter_op_threads)
        try:
            servable = Servable(path, self.config.name, version, threads)
        except ServingError as error:
            with self._lock:
                retry_at = time.monotonic() + self._limits.load_retry_interval
                entry.failure = _Failure(files, attempts, retry_at)
                if is_loaded:
                    log(logging.ERROR, "version_kept", model=self.config.name, error=error)
                else:
                    self._set(version, State.END, error.code, error.message)
            loaded = False
        else:
            with self._lock:
                if is_loaded:
                    self._replaced.append(entry)
                self._versions[version] = _Version(
                    VersionStatus(version, State.AVAILABLE), path, servable
                )
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
                if entry.status.state == State.END and entry.failure is None
            ]
            for number in ended[:-MAX_ENDED]:
                del self._versions[number]
            replaced = [entry for entry in self._replaced if entry.leases]
            done_too = len(replaced) < len(self._replaced)
            self._replaced = replaced
        if done or done_too:
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
