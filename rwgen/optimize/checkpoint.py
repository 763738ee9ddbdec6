"""The state of a run in one file, so that a run that was killed goes on where it was.

The file is an ordinary `.npz` without pickles: arrays, and one JSON text. It is only ever replaced
as a whole, and says which run it belongs to; the search of another run would go on without an
error and end somewhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import CheckpointError, InvalidInputError, OutputError
from rwgen.files import atomic_write
from rwgen.version import __version__

SCHEMA_VERSION = 1
"""Version of the file written here; other versions are refused."""

FILE_NAME = "search.npz"
"""The one file in the folder of a checkpoint."""

DEFAULT_EVERY = 10
"""Iterations between two writes: some hundredths of the time they take (docs/architecture.md)."""

Part = Mapping[str, Any]
"""Part of a state: arrays, and values that JSON can hold, by name."""

_PACKAGES = ("numpy", "scipy", "pillow", "keras", "tensorflow", "tensorflow-probability")
_JSON = "json"
_LABEL = "checkpoint-"  # tells temporary files of checkpoints from those of images


class Checkpoint:
    """Where one run keeps its state: the tasks and the `Minimizer` write it and go on from it.

    A state consists of parts, each written by the module that can go on from it. One folder is
    for one run at a time.
    """

    def __init__(self, directory: str | os.PathLike[str], every: int = DEFAULT_EVERY) -> None:
        """Find out whether the folder can be used, and read what it holds.

        Args:
            directory: a folder, made if it is missing.
            every: iterations between two writes, from 1.

        Raises:
            InvalidInputError: the folder cannot be written, or `every` is out of range.
            CheckpointError: there is a checkpoint that is damaged, or that another version of
                rwgen or of a package it computes with has written.
        """
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise InvalidInputError(
                f"checkpoint: expected iterations between writes from 1. Received: {every!r}"
            )
        self.every = every
        self.path = Path(directory) / FILE_NAME
        self._facts: dict[str, Any] = {}
        self._parts: dict[str, Part] = {}
        _prepare(self.path.parent)
        if os.path.lexists(self.path):
            self._read()
        self.expect(versions=_versions())

    def expect(self, **facts: Any) -> None:
        """State what decides the result of this run; a checkpoint must agree.

        Args:
            **facts: values that JSON can hold; arrays are stated by their `fingerprint`.

        Raises:
            CheckpointError: a saved state belongs to a run with other values.
        """
        # As the file gives them back: lists for tuples, texts for keys.
        values = json.loads(json.dumps(facts, default=str))
        for name, value in values.items():
            if self._parts and self._facts.get(name) != value:
                raise self.refused(_difference(name, self._facts.get(name), value))
        self._facts |= values

    @property
    def is_saved(self) -> bool:
        """Whether there is a state to go on from."""
        return bool(self._parts)

    def get(self, part: str) -> Part | None:
        """The part of the state that was saved last under this name, None if there is none."""
        return self._parts.get(part)

    def is_due(self, saved: int, iteration: int) -> bool:
        """Whether to save at an iteration if iteration `saved` was the last to be saved."""
        return iteration // self.every > saved // self.every

    def save(self, **parts: Part | None) -> None:
        """Replace parts of the state, in the file too; None removes a part.

        Raises:
            OutputError: the file could not be written; the one before is still there.
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
        text = json.dumps({"schema_version": SCHEMA_VERSION, "facts": self._facts, "parts": values})
        buffer = io.BytesIO()
        arrays[_JSON] = np.frombuffer(text.encode(), np.uint8)
        np.savez(buffer, **arrays)
        atomic_write(self.path, buffer.getbuffer(), _LABEL)

    def remove(self) -> None:
        """Remove the state, with its file: its result is there.

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
        """The error that says why a saved state is of no use to this run."""
        return CheckpointError(
            f"expected a checkpoint of this run. Received: {self.path} ({reason}). Delete it to "
            "begin anew, or name another folder"
        )

    def _read(self) -> None:
        try:
            arrays = _read_arrays(self.path)
            content = json.loads(arrays.pop(_JSON).tobytes())
            version = content["schema_version"]
            if version == SCHEMA_VERSION:
                facts = dict(content["facts"])
                parts: dict[str, Any] = {
                    name: dict(part) for name, part in content["parts"].items()
                }
                for name, array in arrays.items():
                    part, key = name.split("/")
                    parts[part][key] = array
        except Exception as error:  # damaged archives raise nearly every kind there is
            what = getattr(error, "strerror", None) or " ".join(str(error).split()) or repr(error)
            raise self.refused(f"damaged: {what:.100}") from None
        if version != SCHEMA_VERSION:
            raise self.refused(f"schema version {version!r:.40}, now {SCHEMA_VERSION}")
        self._facts, self._parts = facts, parts


def fingerprint(array: NDArray[Any] | None) -> str | None:
    """SHA-256 of an array's type, shape and values; None of None."""
    if array is None:
        return None
    header = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Tried, not asked: access rights say nothing of a disk that is full or read-only.
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"rwgen")
            file.flush()
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            "expected a checkpoint folder that can be written. Received: "
            f"{str(directory)!r} ({getattr(error, 'strerror', None) or error})"
        ) from None
    for left in directory.glob(f".rwgen-{_LABEL}*.tmp"):  # by runs killed while they wrote
        with contextlib.suppress(OSError):
            left.unlink()


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        return {
            # Read whole, so that its checksum is looked at before anything in it is believed.
            name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }


def _versions() -> dict[str, str | None]:
    """Versions of what computes; by name, as importing TensorFlow takes seconds."""
    found: dict[str, str | None] = {"rwgen": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # such as a TensorFlow of another name
            found[package] = None
    return found


def _difference(name: str, saved: Any, now: Any) -> str:
    """The first place where two values differ, in words."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in sorted({*saved, *now}):
            if saved.get(key) != now.get(key):
                return _difference(f"{name}.{key}", saved.get(key), now.get(key))
    return f"{name}: {saved!r:.40}, now {now!r:.40}"
