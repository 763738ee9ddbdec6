"""A folder of shards: files with the features of some images each, which runs add to."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError, OutputError
from rwgen.files import atomic_write, failure_reported

ShardFormat = Literal["parquet", "npz"]
FORMATS: tuple[ShardFormat, ...] = get_args(ShardFormat)

SETTINGS_FILE = "features.json"
"""File in the folder that says how the features of all its shards are computed."""

_PREFIX = "features-"


@dataclass(frozen=True)
class Shards:
    """A folder of shards of one format.

    The name of a shard is a hash of the names of its images, so that a worker that repeats the work
    of another one replaces its file.

    Attributes:
        folder: the folder.
        format: `parquet`, with a column `file` and one of tensors for each layer, or `npz`, with
            the arrays `files` and one for each layer.
    """

    folder: Path
    format: ShardFormat

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Create the folder, or check that its features are computed in the same way.

        What killed processes left unfinished is removed.

        Raises:
            InvalidInputError: the folder has other settings, or holds something else.
            OutputError: the folder cannot be written.
        """
        text = json.dumps({**settings, "format": self.format}, indent=1) + "\n"
        file = self.folder / SETTINGS_FILE
        with failure_reported(
            OutputError, "a writable folder", self.folder, "Check path and permissions."
        ):
            self.folder.mkdir(exist_ok=True)
            found = file.read_text(encoding="utf-8") if file.exists() else None
            empty = not any(self.folder.iterdir())
        if found is None and not empty:
            raise InvalidInputError(
                "--output: expected a new or empty folder, or one of shards. "
                f"Received: {str(self.folder)!r}"
            )
        if found is None:
            atomic_write(file, text.encode())
        elif found != text:
            raise InvalidInputError(
                f"--output: expected the settings in {str(file)!r}: {_difference(found, text)}; "
                "choose another folder"
            )
        self.clear()

    def clear(self) -> None:
        """Remove what killed processes left unfinished. No process may be writing."""
        for file in self.folder.glob(".rwgen-*.tmp"):
            file.unlink(missing_ok=True)

    def finished(self) -> dict[str, Path]:
        """Return the shard of every image that has features.

        If workers of an earlier run were still writing when this one began, two shards can have an
        image in common. The second is removed then, and its images have none.

        Raises:
            InvalidInputError: a shard cannot be read.
        """
        shards: dict[str, Path] = {}
        for path in sorted(self.folder.glob(f"{_PREFIX}*.{self.format}")):
            with failure_reported(
                InvalidInputError, "a readable shard", path, "Remove it to compute it again."
            ):
                names = _names(path)
            if any(name in shards for name in names):
                path.unlink()
            else:
                shards |= dict.fromkeys(names, path)
        return shards

    def write(self, names: Sequence[str], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Write a shard, as a whole or not at all.

        Args:
            names: names of the images, in UTF-8.
            outputs: features by layer, [images, ...].

        Raises:
            OutputError: it cannot be written.
        """
        digest = hashlib.sha256("\0".join(names).encode()).hexdigest()
        path = self.folder / f"{_PREFIX}{digest[:24]}.{self.format}"
        encode = encoded_npz if self.format == "npz" else _encoded_parquet
        atomic_write(path, encode(names, outputs))


def encoded_npz(names: Sequence[str], outputs: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an NPZ file with the array `files` and one array for each layer."""
    file = io.BytesIO()
    np.savez(file, files=np.array(names), **outputs)  # type: ignore[arg-type]
    return file.getvalue()


def _encoded_parquet(names: Sequence[str], outputs: Mapping[str, NDArray[Any]]) -> memoryview:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"file": pa.array(names, pa.string())}
    for layer, value in outputs.items():
        columns[layer] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(value))
    stream = pa.BufferOutputStream()
    # Compression takes time, and saves a few percent of random-looking floats.
    pq.write_table(pa.table(columns), stream, compression="none", use_dictionary=False)
    return memoryview(stream.getvalue())


def _names(path: Path) -> list[str]:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return [str(name) for name in arrays["files"]]
    import pyarrow.parquet as pq

    return [str(name) for name in pq.read_table(path, columns=["file"])["file"].to_pylist()]


def _difference(found: str, wanted: str) -> str:
    """Say which setting differs."""
    try:
        before, now = json.loads(found), json.loads(wanted)
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return f"{keys[0]} was {before.get(keys[0])!r}. Received: {now.get(keys[0])!r}"
    except (ValueError, TypeError, AttributeError, IndexError):
        return "settings that can be read. Received: others"
