"""`rwgen batch`: many images from a list of jobs, on this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json as json_module
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from rwgen.cli import options
from rwgen.cli.exit_codes import EXIT_FAILED
from rwgen.cli.jobs import Done, Job, Row, check, expand, read_rows, run_job
from rwgen.cli.stderr import say
from rwgen.compute.device import AUTO
from rwgen.compute.machine import this_machine
from rwgen.compute.memory import available_memory
from rwgen.errors import InvalidInputError
from rwgen.workers import Attempt, Attempts, process_attempts, ray_attempts

WORKER_BYTES = 3 * 2**30
"""Free memory for each worker where their number is not given: more than a style at the default
size takes (docs/performance.md)."""


@dataclass(frozen=True)
class How:
    """Where jobs run, and what is printed.

    Attributes:
        workers: number of processes on this machine; None for as many as its cores and its free
            memory allow.
        threads: number of threads of each.
        ray: address of a Ray cluster instead, or None.
        force: whether images that exist are replaced.
        quiet: whether to print nothing but errors.
        json: whether to print one JSON object.
    """

    workers: int | None = None
    threads: int = 1
    ray: str | None = None
    force: bool = False
    quiet: bool = False
    json: bool = False


_DEFAULTS = How()

SWITCHES = ("force", "quiet", "json")
"""Options of the image commands that hold for all their images together."""


def batch(
    jobs: Annotated[
        Path,
        typer.Argument(
            metavar="JOBS",
            help="Jobs to do, one a line: .csv with a header, .jsonl, or .toml with [[job]]. Each "
            "has a task (style, texture or invert) and arguments and options by their names. A "
            "folder as an image stands for every image in it.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder of the images; made if missing."
        ),
    ],
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of parallel processes on this machine.",
            show_default="what its cores and free memory allow",
        ),
    ] = _DEFAULTS.workers,
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Threads of each. Images are the same with any number of workers and on Ray; "
            "other numbers of threads change them by rounding.",
        ),
    ] = _DEFAULTS.threads,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Use a Ray cluster: local (start one), auto (running one) or ray://HOST:PORT. Its "
            "machines must see the same files.",
        ),
    ] = _DEFAULTS.ray,
    force: options.Force = _DEFAULTS.force,
    quiet: options.Quiet = _DEFAULTS.quiet,
    json: options.Json = _DEFAULTS.json,
) -> int:
    """Make many images from a list of jobs. The same command does what is left.

    Example: rwgen batch jobs.csv -o many
    """
    how = How(workers, threads, ray, force, quiet, json)
    if ray is not None and workers is not None:
        raise InvalidInputError(f"--workers: expected no value with --ray. Received: {workers}")
    return run_rows(read_rows(jobs), output, how)


def run_rows(rows: Sequence[Row], folder: Path, how: How) -> int:
    """Do jobs, after all of them have been checked.

    Args:
        rows: the jobs; a folder stands for the images in it.
        folder: where their images are written; made if missing.
        how: where they run.

    Returns:
        The exit code: 0, or 1 if a job failed.

    Raises:
        InvalidInputError: a job is invalid, or the folder or the cluster cannot be used.
    """
    began = time.perf_counter()
    rows = [single for row in rows for single in expand(row)]
    with _made(folder):
        jobs = check(rows, folder.absolute(), how.force)
    ended: dict[int, Done] = {}
    with _attempts(jobs, how) as (run, prepared):
        for attempt in run(functools.partial(_run, how.threads), prepared):
            ended[attempt.index] = _done(attempt)
            if not how.quiet:
                say(f"{len(ended)}/{len(jobs)} {_line(jobs[attempt.index], ended[attempt.index])}")
    report = [_entry(job, ended[index]) for index, job in enumerate(jobs)]
    counts = {
        state: sum(entry["state"] == state for entry in report)
        for state in ("done", "skipped", "failed")
    }
    seconds = time.perf_counter() - began
    if not how.quiet:
        say(_summary(counts, seconds))
    if how.json:
        values = {"output": str(folder), **counts, "seconds": round(seconds, 3), "jobs": report}
        print(json_module.dumps(values))
    return EXIT_FAILED if counts["failed"] else 0


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it again if nothing will be written there."""
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"--output: expected a folder. Received: {str(folder)!r} ({error.strerror})"
        ) from None
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def _attempts(jobs: Sequence[Job], how: How) -> Iterator[tuple[Attempts, Sequence[Job]]]:
    """What runs the jobs, and the jobs with their share of the memory."""
    if how.ray is not None:
        with ray_attempts(how.ray, how.threads) as run:
            yield run, jobs
        return
    devices = {str(job.values.get("device", AUTO)) for job in jobs}
    free = {device: available_memory(device) for device in devices}
    workers = how.workers
    if workers is None:
        least = min((bytes_ for bytes_ in free.values() if bytes_ is not None), default=None)
        fitting = len(jobs) if least is None else least // WORKER_BYTES
        workers = max(1, min(len(jobs), this_machine().usable_cores // how.threads, fitting))
    shared = {
        device: {} if bytes_ is None else {"memory_limit": f"{bytes_ // workers}B"}
        for device, bytes_ in free.items()
    }
    given = [
        dataclasses.replace(
            job, values={**shared[str(job.values.get("device", AUTO))], **job.values}
        )
        for job in jobs
    ]
    with _environment({"OMP_NUM_THREADS": str(how.threads)}):  # read when NumPy is imported
        yield process_attempts(workers), given


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that processes inherit, unless they are set."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _run(threads: int, job: Job) -> Done:
    """Run a job in a process of its own, where TensorFlow reads these when it is imported."""
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(threads))
    # A command would decide by its own memory, and the next ones could not change it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    return run_job(job)


def _done(attempt: Attempt) -> Done:
    if attempt.error is None:
        done: Done = attempt.result
        return done
    return Done(EXIT_FAILED, " ".join(str(attempt.error).split()), skipped=False, seconds=0.0)


def _entry(job: Job, done: Done) -> dict[str, Any]:
    state = "failed" if done.code else "skipped" if done.skipped else "done"
    return {
        "job": job.place,
        "task": job.task,
        "output": job.output,
        "state": state,
        "seconds": round(done.seconds, 3),
        "error": done.problem or None,
    }


def _line(job: Job, done: Done) -> str:
    if done.code:
        return f"failed: {job.place}: {done.problem}"
    if done.skipped:
        return f"already there: {job.output}"
    return f"wrote {job.output} in {done.seconds:.0f} s"


def _summary(counts: Mapping[str, int], seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    took = f"{minutes} min {rest} s" if minutes else f"{rest} s"
    text = f"{counts['done']} made, {counts['skipped']} already there, {counts['failed']} failed"
    again = "; the same command tries those again" if counts["failed"] else ""
    return f"{text} in {took}{again}"
