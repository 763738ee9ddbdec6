"""The state of a run in one file, from which a run that was killed resumes.

The file is an ordinary `.npz` without pickles: arrays, and one JSON text. It is always replaced as
a whole. It identifies the run that it belongs to, because resuming the search of another run would
raise no error and end with a different image.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.checks import check_count, is_count
from rwgen.errors import CheckpointError, InvalidInputError, OutputError
from rwgen.files import atomic_write
from rwgen.version import __version__

SCHEMA_VERSION = 1
"""Version of the file format; other versions are refused."""

FILE_NAME = "search.npz"
"""The one file in the folder of a checkpoint."""

DEFAULT_EVERY = 10
"""Iterations between two writes, which take a few percent of their time (docs/architecture.md)."""

Part = Mapping[str, Any]
"""Part of a state: arrays and JSON-compatible values, by name."""

_PACKAGES = ("numpy", "scipy", "pillow", "keras", "tensorflow", "tensorflow-probability")
_JSON = "json"
_FINGERPRINT = re.compile(r"\b[0-9a-f]{64}\b")
_LABEL = "checkpoint-"  # distinguishes temporary files of checkpoints from those of images


class Checkpoint:
    """Where one run stores its state; the tasks and `Minimizer` write it and resume from it.

    A state consists of parts, each written by the module that resumes from it. A folder is used by
    one run at a time.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every: int = DEFAULT_EVERY,
        on_failure: Callable[[OutputError], None] | None = None,
    ) -> None:
        """Check whether the folder is usable, and read its checkpoint.

        Args:
            directory: a folder, created if missing.
            every: number of iterations between two writes, at least 1.
            on_failure: called when the file cannot be written, so that the search goes on; None
                raises the error.

        Raises:
            InvalidInputError: the folder cannot be written, or `every` is out of range.
            CheckpointError: the checkpoint is damaged, or was written by another version of rwgen
                or of a package that it computes with.
        """
        check_count("every", every, 1)
        self.every = every
        self._on_failure = on_failure
        self.path = Path(directory) / FILE_NAME
        self.names: dict[str, str] = {}
        """What messages call fingerprints: words by fingerprint. They are saved too."""
        self._facts: dict[str, Any] = {}
        self._parts: dict[str, Part] = {}
        _prepare(self.path.parent)
        if os.path.lexists(self.path):
            self._read()
        self.expect(versions=_versions())

    def expect(self, may_grow: Collection[str] = (), **facts: Any) -> None:
        """State what decides the result of this run; a saved state must agree.

        Args:
            may_grow: names of integers in `facts`, at any depth, that may be larger than saved.
            **facts: JSON-compatible values; pass the `fingerprint` of an array.

        Raises:
            CheckpointError: the saved state belongs to a run with other values.
        """
        # As read back from the file: lists for tuples, strings for keys.
        values = json.loads(json.dumps(facts, default=str))
        for name, value in values.items():
            found = self._facts.get(name)
            if self._parts and not is_same_or_grown(found, value, may_grow):
                reason = _difference(name, found, value, self.names, may_grow)
                raise self.refused(reason)
        self._facts |= values

    @property
    def is_saved(self) -> bool:
        """Whether there is a state to resume from."""
        return bool(self._parts)

    def get(self, part: str) -> Part | None:
        """The last saved part of the state with this name, or None."""
        return self._parts.get(part)

    def is_due(self, saved: int, iteration: int) -> bool:
        """Whether to save at an iteration, given the last saved iteration."""
        return iteration // self.every > saved // self.every

    def save(self, **parts: Part | None) -> None:
        """Replace parts of the state and write the file; None removes a part.

        Raises:
            OutputError: the file could not be written, and there is no `on_failure`. The previous
                file is untouched.
        """
        new = self._parts | parts
        self._parts = {name: part for name, part in new.items() if part is not None}
        arrays: dict[str, Any] = {}
        values: dict[str, dict[str, Any]] = {}
        for name, part in self._parts.items():
            values[name] = {}
            for key, value in part.items():
                is_array = isinstance(value, np.ndarray)
                (arrays if is_array else values[name])[f"{name}/{key}" if is_array else key] = value
        content = {"schema_version": SCHEMA_VERSION, "facts": self._facts, "parts": values}
        text = json.dumps(content | {"names": self.names})
        buffer = io.BytesIO()
        arrays[_JSON] = np.frombuffer(text.encode(), np.uint8)
        np.savez(buffer, **arrays)
        try:
            atomic_write(self.path, buffer.getbuffer(), _LABEL)
        except OutputError as error:
            if self._on_failure is None:
                raise
            self._on_failure(error)

    def remove(self) -> None:
        """Delete the state and its file, once the result is saved.

        Raises:
            OutputError: the file could not be removed.
        """
        self._parts = {}
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"expected a checkpoint that can be removed. Received: {self.path} "
                f"({error.strerror})"
            ) from error

    def refused(self, reason: str) -> CheckpointError:
        """The error for a saved state that this run cannot use."""
        return CheckpointError(
            f"expected a checkpoint of this run. Received: {self.path} ({reason}). Delete it to "
            "start over, or choose another folder"
        )

    def _read(self) -> None:
        try:
            arrays = _read_arrays(self.path)
            content = json.loads(arrays.pop(_JSON).tobytes())
            version = content["schema_version"]
            if version == SCHEMA_VERSION:
                facts, names = dict(content["facts"]), dict(content.get("names", {}))
                parts: dict[str, Any] = {
                    name: dict(part) for name, part in content["parts"].items()
                }
                for name, array in arrays.items():
                    part, key = name.split("/")
                    parts[part][key] = array
        except Exception as error:  # damaged archives raise almost any kind of error
            what = getattr(error, "strerror", None) or " ".join(str(error).split()) or repr(error)
            raise self.refused(f"damaged: {what:.100}") from None
        if version != SCHEMA_VERSION:
            raise self.refused(f"schema version {version!r:.40}, now {SCHEMA_VERSION}")
        self._facts, self._parts, self.names = facts, parts, names


def is_same_or_grown(saved: Any, now: Any, may_grow: Collection[str]) -> bool:
    """Whether JSON values are equal but for integers of some names, which may be larger now."""
    if not isinstance(saved, dict) or not isinstance(now, dict) or saved.keys() != now.keys():
        return bool(saved == now)
    return all(
        is_same_or_grown(value, now[key], may_grow)
        or (key in may_grow and is_count(value) and is_count(now[key], value))
        for key, value in saved.items()
    )


def fingerprint(array: NDArray[Any] | None) -> str | None:
    """SHA-256 of an array's dtype, shape and values; None for None."""
    if array is None:
        return None
    header = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Permissions do not show a full or read-only disk, so write something.
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"rwgen")
            file.flush()
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            "expected a checkpoint folder that can be written. Received: "
            f"{str(directory)!r} ({getattr(error, 'strerror', None) or error})"
        ) from None
    for left in directory.glob(f".rwgen-{_LABEL}*.tmp"):  # of runs killed while writing
        with contextlib.suppress(OSError):
            left.unlink()


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        return {
            # Read as a whole, so that its checksum is verified before its content is used.
            name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }


def _versions() -> dict[str, str | None]:
    """Versions of the packages that compute, from metadata: importing TensorFlow takes seconds."""
    found: dict[str, str | None] = {"rwgen": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # such as TensorFlow under another name
            found[package] = None
    return found


def _difference(
    name: str, saved: Any, now: Any, names: Mapping[str, str], may_grow: Collection[str] = ()
) -> str:
    """Describe the first difference between two values, with words for fingerprints."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in sorted({*saved, *now}):
            old, new = saved.get(key), now.get(key)
            if not is_same_or_grown({key: old}, {key: new}, may_grow):
                return _difference(f"{name}.{key}", old, new, names, may_grow)
    if isinstance(now, str) and now in names:
        before, after = names.get(str(saved), "another one"), names[now]
        return f"begun with {before}, now {after}" if before != after else f"{after} has changed"
    if not any(_FINGERPRINT.search(repr(value)) for value in (saved, now)):
        return f"{name}: {saved!r:.40}, now {now!r:.40}"
    if isinstance(saved, list) and isinstance(now, list) and len(saved) == len(now):
        for number, (old, new) in enumerate(zip(saved, now, strict=True)):
            if old != new:
                return _difference(f"{name}.{number}", old, new, names)
    return f"other {name}"
