"""Jobs of `rwgen batch`: read, checked before any work, and run by the command's own function."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwgen.cli.commands import load_command
from rwgen.cli.inputs import images_in, is_folder
from rwgen.cli.main import attempt
from rwgen.cli.option_file import option_values, read_toml, takes_several
from rwgen.cli.outcome import Outcome
from rwgen.errors import ImageError, InvalidInputError
from rwgen.images import image_size
from rwgen.phases import Phase, listening

TASKS = ("style", "texture", "invert")
"""Commands that a job can name."""

TOML_JOBS = "job"
"""Name of the array of tables in a TOML file; the keys before it apply to every job."""

SEPARATOR = ";"
"""Between several images or layers in a cell of a CSV file."""

_ONE_EACH = ("output", "history", "logdir", "profile", "checkpoint")
"""Options that name what one image writes."""

_REFUSED = {"json": "it prints one object for all jobs with its own --json"}
"""Options that a job cannot have, and why."""


@dataclass(frozen=True)
class Row:
    """A job as it is written down.

    Attributes:
        place: where, such as `jobs.csv, line 3`.
        task: the command.
        values: values of its parameters, see `option_values`.
        number: what its output is numbered with, or None.
    """

    place: str
    task: str
    values: Mapping[str, Any]
    number: int | None = None


@dataclass(frozen=True)
class Job:
    """One image to make.

    Attributes:
        place: see `Row`.
        task: the command.
        values: values of its parameters.
        output: the image to write.
        likeness: equal for jobs that compute the same with other pixels.
    """

    place: str
    task: str
    values: Mapping[str, Any]
    output: str
    likeness: tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """How a job ended.

    Attributes:
        code: exit code of its command.
        problem: why it is not 0.
        skipped: whether the image was there already.
        seconds: how long it took.
    """

    code: int
    problem: str
    skipped: bool
    seconds: float


def read_rows(path: Path) -> list[Row]:
    """Read jobs from a file.

    Args:
        path: CSV with a header, a JSON object a line, or TOML with tables `[[job]]`. The column or
            key `task` names the command; the others are named as its options and arguments.

    Raises:
        InvalidInputError: the file cannot be read, or a job has no task, an unknown option or a
            value of a wrong form.
    """
    readers: dict[str, Callable[[Path], Iterator[tuple[str, dict[str, Any]]]]]
    readers = {".csv": _read_csv, ".jsonl": _read_json_lines, ".toml": _read_toml}
    if path.suffix.lower() not in readers:
        raise InvalidInputError(
            f"JOBS: expected a file ending in {', '.join(readers)}. Received: {str(path)!r}"
        )
    separator = SEPARATOR if path.suffix.lower() == ".csv" else None
    rows = []
    for place, values in readers[path.suffix.lower()](path):
        task = values.pop("task", None)
        if task not in TASKS:
            raise InvalidInputError(
                f"{place}: task: expected one of {', '.join(TASKS)}. Received: {task!r:.60}"
            )
        with _at(place):
            found = option_values(
                load_command(task),
                values,
                path.parent.absolute(),
                separator=separator,
                unresolved=["output"],
            )
        rows.append(Row(place, task, found))
    if not rows:
        raise InvalidInputError(f"JOBS: expected at least one job. Received: {str(path)!r}")
    return rows


def expand(row: Row) -> list[Row]:
    """Replace a folder by the images in it: one job for each, or for each pair.

    Raises:
        InvalidInputError: a folder has no images or is one of several styles, or an option names
            one file for all.
    """
    choices: dict[str, list[Any]] = {}
    for parameter in load_command(row.task).params:
        value = row.values.get(parameter.name)
        if parameter.param_type_name != "argument" or not value:
            continue
        places = value if takes_several(parameter) else [value]
        if not any(map(is_folder, places)):
            continue
        with _at(row.place):
            if len(places) > 1:
                raise InvalidInputError(
                    f"expected a folder of images alone, or images. Received: {len(places)} places"
                )
            files = [str(path) for path in images_in(Path(places[0]))]
        choices[parameter.name] = [[file] for file in files] if places is value else files
    for name in _ONE_EACH if choices else ():
        if name in row.values:
            raise InvalidInputError(
                f"{row.place}: expected no --{name} with a folder of images. "
                f"Received: {row.values[name]}"
            )
    return [
        dataclasses.replace(row, values={**row.values, **dict(zip(choices, images, strict=True))})
        for images in itertools.product(*choices.values())
    ]


def check(rows: Sequence[Row], folder: Path, force: bool) -> list[Job]:
    """Check jobs without reading an image, and put those that compute the same side by side.

    Args:
        rows: the jobs, without folders.
        folder: where images are written to.
        force: whether they replace others.

    Raises:
        InvalidInputError: a job would be refused, an input is missing, or two jobs write the same
            image.
    """
    alike: dict[tuple[Any, ...], list[Job]] = {}
    written: dict[str, str] = {}
    for job in (job for row in rows for job in _checked(row, folder, force)):
        path = os.path.realpath(job.output)
        if path in written:
            raise InvalidInputError(
                f"{job.place}: expected an image of its own; give jobs an output. "
                f"Received: {job.output}, also of {written[path]}"
            )
        written[path] = job.place
        alike.setdefault(job.likeness, []).append(job)
    return [job for group in alike.values() for job in group]


def run_job(job: Job) -> Done:
    """Run a job in this process, unless its image is there already.

    Everything that its command refuses or that fails is told by the result.
    """
    began = time.perf_counter()
    outcome = Outcome()
    code, problem = attempt(lambda: _invoke(job.task, job.values, outcome))
    if code and not problem:
        problem = "interrupted" if code > 2 else "a file other than the image was not written"
    return Done(code, problem, outcome.skipped, time.perf_counter() - began)


def _invoke(task: str, values: Mapping[str, Any], outcome: Outcome) -> Any:
    command = load_command(task)
    with command.make_context(task, [], obj=outcome, default_map=dict(values)) as context:
        return command.invoke(context)


class _FirstImage(Exception):  # noqa: N818 # not an error
    """A command is about to read its first image."""


class _StopAtFirstImage:
    """Stops a command where its checks without images end; a listener of `rwgen.phases`."""

    def began(self, phase: Phase) -> None:
        """Stop."""
        if phase.name == "read images":
            raise _FirstImage

    def ended(self, phase: Phase) -> None:
        """Do nothing."""


def _checked(row: Row, folder: Path, force: bool) -> list[Job]:
    """The job of a row, or the jobs of its variations."""
    for name, reason in _REFUSED.items():
        if name in row.values:
            raise InvalidInputError(
                f"{row.place}: expected no {name} for a job: {reason}. Received: "
                f"{row.values[name]!r:.60}"
            )
    values = {"output": "", **row.values}
    values["output"] = str(folder / values["output"])  # a command names what it puts in a folder
    outcome = Outcome()

    def dry() -> Any:
        without = {name: value for name, value in values.items() if name != "profile"}
        with listening(_StopAtFirstImage()):
            try:
                return _invoke(row.task, without, outcome)
            except _FirstImage:
                return 0

    code, problem = attempt(dry)
    if code:
        raise InvalidInputError(f"{row.place}: {problem}")
    if outcome.variations > 1:
        return [job for one in _variations(row, outcome) for job in _checked(one, folder, force)]
    if row.number is not None:
        plain = Path(outcome.output)
        outcome.output = str(plain.with_name(f"{plain.stem}-{row.number}{plain.suffix}"))
    if Path(outcome.output).suffix.lower() != ".png":
        raise InvalidInputError(
            f"{row.place}: expected an output ending in .png, which stores what it was made from. "
            f"Received: {outcome.output}"
        )
    for path in outcome.inputs:
        if not _is_file(path):
            raise InvalidInputError(f"{row.place}: expected an image. Received: no file {path}")
    values |= {"output": outcome.output, "quiet": True, "skip_done": True}
    if force:
        values["force"] = True
    return [Job(row.place, row.task, values, outcome.output, _likeness(row, outcome))]


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # such as a name that is too long
        return False


def _variations(row: Row, outcome: Outcome) -> Iterator[Row]:
    """A row for each seed; a style starts from its content, so that its network varies."""
    for name in _ONE_EACH[1:]:
        if name in row.values:
            raise InvalidInputError(
                f"{row.place}: expected no --{name} with variations. Received: {row.values[name]}"
            )
    name = "network_seed" if row.task == "style" else "seed"
    for number in range(outcome.variations):
        seed = {name: getattr(outcome, name) + number, "variations": 1}
        yield dataclasses.replace(row, values={**row.values, **seed}, number=number + 1)


def _likeness(row: Row, outcome: Outcome) -> tuple[Any, ...]:
    pictures = {"content", "styles", "source", "image", "seed", "network_seed", *_ONE_EACH}
    options = {name: value for name, value in row.values.items() if name not in pictures}
    sizes = []
    for path in outcome.inputs:
        with contextlib.suppress(ImageError):  # which the job reports
            sizes.append(image_size(path))
    return row.task, json.dumps(options, sort_keys=True, default=str), tuple(sizes)


@contextlib.contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the place of a job before what is wrong with it."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"{place}: {error}") from None


def _read_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(_text_of(path), newline=""), strict=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    if len(set(names)) < len(names):
        raise InvalidInputError(
            f"{path}, line 1: expected every column once. Received: {','.join(names):.60}"
        )
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InvalidInputError(
                f"{path}, line {reader.line_num}: expected CSV. Received: {error}"
            ) from None
        if cells is None:
            return
        place = f"{path}, line {reader.line_num}"
        if None in cells:
            raise InvalidInputError(
                f"{place}: expected at most {len(names)} cells, as in line 1. "
                f"Received: {len(names) + len(cells[None])}"
            )
        yield place, {name.strip(): text for name, text in cells.items() if text}


def _read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_text_of(path).splitlines(), 1):
        place = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"{place}: expected a JSON object. Received: {line!r:.60} ({error})"
            ) from None
        if not isinstance(values, dict):
            raise InvalidInputError(f"{place}: expected a JSON object. Received: {line!r:.60}")
        yield place, {name: value for name, value in values.items() if value is not None}


def _read_toml(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    common = read_toml(path)
    jobs = common.pop(TOML_JOBS, [])
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise InvalidInputError(f"{path}: expected tables [[{TOML_JOBS}]]. Received: {jobs!r:.60}")
    header = re.compile(rf"\s*\[\[\s*{TOML_JOBS}\s*\]\]")
    lines = [
        number for number, line in enumerate(_text_of(path).splitlines(), 1) if header.match(line)
    ]
    for index, job in enumerate(jobs):
        known = len(lines) == len(jobs)  # not with such a line inside a text
        yield f"{path}, {f'line {lines[index]}' if known else f'job {index + 1}'}", common | job


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"JOBS: expected a text file in UTF-8. Received: {str(path)!r} ({reason})"
        ) from None
