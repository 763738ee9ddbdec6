"""The folder of a reproduction: inputs, parts, and what is shown of them.

    reproduction.json     settings, verdicts, costs; marks the folder
    index.html            everything on one page
    figure-N/             figure.png, figure.json, commands.sh, images/
    inputs/               the squares that parts were made from
    networks/             recipes that commands name
    parts/KEY/            part.json and the images of a part

A part is made in a folder of another name, which is renamed once it is whole.
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
"""The file that says what a folder is."""

FORMAT_VERSION = 1
"""Version of that file; folders of other versions are refused."""

_RESULT = "part.json"


@dataclass(frozen=True)
class PartResult:
    """What was made of a part.

    Attributes:
        key: of the part.
        folder: where its files are.
        numbers: what was measured, by name; None where a number has no finite value.
        history: columns of equal length: iteration, evaluations, seconds, loss and, of inversions,
            distance.
        seconds: that it took.
        seconds_per_evaluation: of its search at the finest size, None where it is not known.
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
        """The image that was made."""
        return self.folder / "image.png"

    @property
    def recipe(self) -> Path:
        """The recipe that was made of a stack."""
        return self.folder / "recipe.json"

    def snapshot(self, iteration: int) -> Path:
        """The image of an iteration."""
        return self.folder / f"iteration-{iteration:06d}.png"


class Store:
    """The folder of one reproduction."""

    def __init__(self, folder: Path) -> None:
        """Find out whether the folder can be used; make it where it is missing.

        Raises:
            InvalidInputError: it holds something else than a reproduction.
            OutputError: it cannot be made.
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
        """Where finished parts are."""
        return self.folder / "parts"

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write values below the folder, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        text = json.dumps({"format_version": FORMAT_VERSION, **values}, indent=1, allow_nan=False)
        atomic_write(self.folder / name, (text + "\n").encode())

    def load(self, part: Part) -> PartResult | None:
        """The result of a part, None where it has not been made or is damaged."""
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
        """The folder in which a part is made; what an interrupted run left is still in it."""
        folder = self.parts / f".making-{part_key(part)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self, part: Part, values: Mapping[str, Any]) -> None:
        """Write what was measured of a part, and give its folder the part's name.

        Raises:
            OutputError: it cannot be written.
        """
        workplace, folder = self.workplace(part), self.parts / part_key(part)
        described = {"kind": part.kind, **part.identity}
        text = json.dumps({"part": described, **values}, indent=1, allow_nan=False) + "\n"
        atomic_write(workplace / _RESULT, text.encode())
        if folder.exists():  # damaged, or made meanwhile by another run
            shutil.rmtree(folder)
        try:
            workplace.rename(folder)
        except OSError as error:
            raise OutputError(
                f"expected a folder that can be written. Received: {os.fspath(folder)!r} "
                f"({error.strerror})"
            ) from None


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, unless the copy is there already.

    Raises:
        OutputError: it cannot be written.
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
