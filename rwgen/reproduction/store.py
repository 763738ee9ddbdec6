"""The folder of a reproduction: inputs, parts and figures.

    reproduction.json     settings, verdicts and costs; identifies the folder
    index.html            page with all figures
    figure-N/             figure.png, figure.json, commands.sh, images/
    inputs/               square input images
    networks/             recipes that the commands refer to
    parts/KEY/            part.json and images of a part

A part is made in a folder of another name, which is renamed once the part is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwgen.errors import InvalidInputError, OutputError
from rwgen.files import atomic_write
from rwgen.reproduction.parts import Part, part_key

MARK = "reproduction.json"
"""File that identifies the folder of a reproduction."""

FORMAT_VERSION = 1
"""Version of that file; folders of other versions are rejected."""

_RESULT = "part.json"


@dataclass(frozen=True)
class PartResult:
    """Result of a part.

    Attributes:
        key: key of the part.
        folder: folder of its files.
        numbers: measured numbers by name; None where a number has no finite value.
        history: columns of equal length: iteration, evaluations, seconds, loss and, for
            inversions, distance.
        seconds: time that the part took.
        seconds_per_evaluation: time of one evaluation at the finest size, or None if unknown.
        snapshots: iterations whose images were kept.
    """

    key: str
    folder: Path
    numbers: Mapping[str, Any]
    history: Mapping[str, list[float]]
    seconds: float
    seconds_per_evaluation: float | None
    snapshots: tuple[int, ...] = ()

    @property
    def image(self) -> Path:
        """Path of the result."""
        return self.folder / "image.png"

    @property
    def recipe(self) -> Path:
        """Path of the recipe, for a stack."""
        return self.folder / "recipe.json"

    def snapshot(self, iteration: int) -> Path:
        """Return the path of the image after an iteration."""
        return self.folder / f"iteration-{iteration:06d}.png"


class Store:
    """The folder of one reproduction."""

    def __init__(self, folder: Path) -> None:
        """Check the folder, and create it if it is missing.

        Raises:
            InvalidInputError: the folder holds something other than a reproduction.
            OutputError: the folder cannot be created.
        """
        self.folder = folder
        mark = folder / MARK
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not mark.exists() and any(folder.iterdir()):
                raise _unusable(folder, "a folder that holds something else")
            if mark.exists():
                self._check(json.loads(mark.read_text(encoding="utf-8")))
            self.parts.mkdir(exist_ok=True)
        except ValueError as error:
            if isinstance(error, InvalidInputError):
                raise
            raise _unusable(folder, f"a damaged {MARK}") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"--output: expected a folder that can be written. Received: {os.fspath(folder)!r} "
                f"({reason})"
            ) from None
        if not mark.exists():
            self.write_json(MARK, {})

    def _check(self, values: Any) -> None:
        version = values.get("format_version") if isinstance(values, dict) else None
        if version != FORMAT_VERSION:
            raise _unusable(self.folder, f"{MARK} of another version")

    @property
    def parts(self) -> Path:
        """Folder of the finished parts."""
        return self.folder / "parts"

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write values to a JSON file atomically.

        Args:
            name: path relative to the folder.
            values: content, to which the format version is added.

        Raises:
            OutputError: the file cannot be written.
        """
        text = json.dumps({"format_version": FORMAT_VERSION, **values}, indent=1, allow_nan=False)
        atomic_write(self.folder / name, (text + "\n").encode())

    def load(self, part: Part) -> PartResult | None:
        """Return the result of a part, or None if it is missing or damaged."""
        key = part_key(part)
        folder = self.parts / key
        try:
            values = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
            result = PartResult(
                key=key,
                folder=folder,
                numbers=values["numbers"],
                history=values["history"],
                seconds=values["seconds"],
                seconds_per_evaluation=values["seconds_per_evaluation"],
                snapshots=tuple(values["snapshots"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        files = [result.snapshot(number) for number in result.snapshots]
        files.append(result.recipe if part.kind == "stack" else result.image)
        return result if all(file.is_file() for file in files) else None

    def workplace(self, part: Part) -> Path:
        """Return the folder in which a part is made, with what an interrupted run left in it."""
        folder = self.parts / f".making-{part_key(part)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self, part: Part, values: Mapping[str, Any]) -> None:
        """Write the measurements of a part, and move its folder to its final name.

        Raises:
            OutputError: a file cannot be written.
        """
        workplace, folder = self.workplace(part), self.parts / part_key(part)
        described = {"kind": part.kind, **part.identity}
        text = json.dumps({"part": described, **values}, indent=1, allow_nan=False) + "\n"
        atomic_write(workplace / _RESULT, text.encode())
        if folder.exists():  # damaged, or made by another run in the meantime
            shutil.rmtree(folder)
        try:
            workplace.rename(folder)
        except OSError as error:
            raise OutputError(
                f"expected a folder that can be written. Received: {os.fspath(folder)!r} "
                f"({error.strerror})"
            ) from None


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, unless an identical copy exists.

    Raises:
        OutputError: the copy cannot be written.
    """
    data = source.read_bytes()
    with contextlib.suppress(OSError):
        if target.read_bytes() == data:
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(target, data)


def _unusable(folder: Path, received: str) -> InvalidInputError:
    return InvalidInputError(
        "--output: expected an empty folder, or one of rwgen reproduce. "
        f"Received: {os.fspath(folder)!r}, {received}"
    )
