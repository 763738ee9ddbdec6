"""One run of a task from the shell: progress, interruption, and all output files."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rwgen.cli.events import event_log
from rwgen.cli.existing import check_new
from rwgen.cli.exit_codes import EXIT_FAILED, EXIT_SIGNALED
from rwgen.cli.growth import Growth, check_growth
from rwgen.cli.stderr import say
from rwgen.cli.view import check_view, open_view
from rwgen.errors import InvalidInputError, OutputError
from rwgen.files import atomic_write
from rwgen.images import check_destination, write_image
from rwgen.optimize.checkpoint import FILE_NAME, Checkpoint
from rwgen.optimize.solution import StopReason
from rwgen.phases import phase
from rwgen.progress import progress
from rwgen.provenance import METADATA_KEY, Provenance

if TYPE_CHECKING:
    from rwgen.optimize.solution import Callback, Solution, Step


@dataclass(frozen=True)
class Outputs:
    """Where a command writes, and how verbose it is.

    Attributes:
        image: image file, or `-` for standard output.
        save_every: number of iterations between intermediate images; 0 writes none.
        history: CSV file, or None.
        logdir: folder for TensorBoard, or None.
        quiet: whether to hide progress.
        json: whether to print one JSON object on standard output.
        bits: bits of each sample of the image.
        view: whether to show a page.
        animate: animation of how the image forms, or None.
    """

    image: str
    save_every: int = 0
    history: str | None = None
    logdir: str | None = None
    quiet: bool = False
    json: bool = False
    bits: int = 8
    view: bool = False
    animate: str | None = None

    def check(self, inputs: tuple[str, ...], checkpoint: str | None) -> None:
        """Check before any work that everything can be written.

        Args:
            inputs: paths of the input images.
            checkpoint: folder of the checkpoint, or None.

        Raises:
            InvalidInputError: a destination is unusable, or would overwrite an input.
        """
        if not self.image:
            raise InvalidInputError("--output: expected an image file to write. Received: none")
        check_destination(self.image)
        try:
            check_destination(self.image, self.bits)
        except InvalidInputError as error:
            raise InvalidInputError(f"--{error}") from None
        if self.view:
            check_view(self.quiet)
        to_stdout = {
            "--output -": self.image == "-",
            "--history -": self.history == "-",
            "--json": self.json,
        }
        if sum(to_stdout.values()) > 1:
            received = " and ".join(name for name, used in to_stdout.items() if used)
            raise InvalidInputError(f"expected one thing on standard output. Received: {received}")
        if self.image == "-" and self.save_every:
            raise InvalidInputError("--save-every: expected an --output other than -. Received: -")
        if self.history not in (None, "-") and not _is_writable(str(self.history)):
            raise InvalidInputError(
                f"--history: expected a file that can be written. Received: {self.history}"
            )
        if (
            self.logdir is not None
            and Path(self.logdir).exists()
            and not Path(self.logdir).is_dir()
        ):
            raise InvalidInputError(f"--logdir: expected a folder. Received: {self.logdir}")
        if self.animate is not None:
            check_growth(self.animate)
        for path in inputs:
            written = (self.history, self.animate)
            if path != "-" and (self._is_image(path) or any(_is_same(path, it) for it in written)):
                raise InvalidInputError(
                    f"expected output files that are not inputs. Received: {path} as both"
                )
        if checkpoint is not None and _is_same(str(Path(checkpoint) / FILE_NAME), self.history):
            raise InvalidInputError(
                f"--history: expected a file other than the checkpoint's. Received: {self.history}"
            )
        if self.history is not None and self._is_image(self.history):
            raise InvalidInputError(
                f"--history: expected a file other than the images. Received: {self.history}"
            )
        if self.animate is not None and (
            self._is_image(self.animate) or _is_same(self.animate, self.history)
        ):
            raise InvalidInputError(
                f"--animate: expected a file other than the others. Received: {self.animate}"
            )

    def check_new(self, source: str | None) -> None:
        """Check before any work that no file is replaced.

        Args:
            source: file that may be replaced by the image that is made from it, or None.

        Raises:
            InvalidInputError: a file exists.
        """
        if source is None or not _is_same(source, self.image):
            check_new("--output", self.image, force=False)
        check_new("--history", self.history, force=False)
        check_new("--animate", self.animate, force=False)
        if self.save_every:
            for other in sorted(Path(self.image).parent.iterdir()):
                if self._is_intermediate(other.name):
                    check_new("--save-every", str(other), force=False)

    def _is_image(self, path: str) -> bool:
        """Whether the result or an intermediate image is written to a path."""
        if self.image == "-" or _is_same(path, self.image):
            return self.image != "-"
        beside = _is_same(str(Path(self.image).parent), str(Path(path).parent))
        return bool(self.save_every and beside and self._is_intermediate(Path(path).name))

    def _is_intermediate(self, name: str) -> bool:
        output = Path(self.image)
        pattern = rf"{re.escape(output.stem)}-\d{{6,}}{re.escape(output.suffix)}"
        return re.fullmatch(pattern, name) is not None

    def intermediate(self, iteration: int) -> Path:
        """File of the intermediate image of an iteration."""
        path = Path(self.image)
        return path.with_name(f"{path.stem}-{iteration:06d}{path.suffix}")


def _is_same(path: str, other: str | None) -> bool:
    # Unlike `Path.resolve`, this does not fail on loops of links; reading and writing report them.
    return other is not None and os.path.realpath(path) == os.path.realpath(other)


def _is_writable(path: str) -> bool:
    target = Path(os.path.realpath(path))
    try:
        # After `realpath`, a link is part of a loop of links.
        usable = target.parent.is_dir() and not target.is_dir() and not target.is_symlink()
    except OSError:  # such as a name that is too long
        return False
    return usable and os.access(target.parent, os.W_OK | os.X_OK)


@dataclass
class Lenience:
    """What to do when a file of an option cannot be written: report it once, and go on.

    Attributes:
        option: name of the option.
        failed: whether a file could not be written.
    """

    option: str
    failed: bool = False

    def __call__(self, error: OutputError) -> None:
        """Note a failure."""
        if not self.failed:
            reason = str(error).removeprefix(f"{self.option}: ").rstrip(".")
            say(f"{self.option}: {reason}; the run goes on")
        self.failed = True

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Note a failure of the body."""
        try:
            yield
        except OutputError as error:
            self(error)


def open_checkpoint(folder: str | None, every: int, provenance: Provenance) -> Checkpoint | None:
    """Open the checkpoint of a command, before any work.

    Args:
        folder: its folder, or None for no checkpoint.
        every: number of iterations between two writes.
        provenance: what the image will be made from.

    Raises:
        InvalidInputError: the folder cannot be written, or holds the checkpoint of another run.
    """
    if folder is None:
        return None
    checkpoint = Checkpoint(folder, every, Lenience("--checkpoint"))
    for image in provenance.inputs:
        checkpoint.names[str(image.sha256)] = f"the {image.role} image {Path(image.path).name}"
    checkpoint.expect(
        may_grow=("iterations",),
        command=provenance.command,
        # Pixels matter, paths do not.
        inputs=[[image.role, image.sha256] for image in provenance.inputs],
        options=dict(provenance.options),
        recipe=provenance.recipe.to_dict(),
    )
    return checkpoint


def run_task(
    task: Callable[[Callback], Solution],
    outputs: Outputs,
    provenance: Provenance,
    max_iterations: int,
    summary: Callable[[Solution, NDArray[np.uint8]], dict[str, Any]] | None = None,
    checkpoint: Checkpoint | None = None,
    alpha: NDArray[Any] | None = None,
) -> int:
    """Run a task and write its results.

    Args:
        task: maps a callback to the solution.
        outputs: where to write.
        provenance: stored in the PNG.
        max_iterations: for the progress bar.
        summary: further values for the JSON object, from the solution and the written pixels.
        checkpoint: what the task resumes from; removed once a run that was not interrupted has
            written its image.
        alpha: alpha channel of the image, [height, width] in 0..255, or None if it is opaque.

    Returns:
        The exit code: 0; 1 if a file other than the image could not be written; after Ctrl-C or
        SIGTERM 128 and the signal's number, in which case the best image so far was written.

    Raises:
        OutputError: the image could not be written.
    """

    def metadata(complete: bool) -> dict[str, str]:
        return {METADATA_KEY: replace(provenance, complete=complete).to_json(outputs.image)}

    def write(path: str | Path, image: NDArray[Any], *, complete: bool) -> None:
        write_image(path, image, metadata=metadata(complete), alpha=alpha, bits=outputs.bits)

    resumed_from: dict[str, int | None] = {}
    resumes = checkpoint is not None and checkpoint.is_saved
    options = ("--save-every", "--logdir", "--history", "--animate")
    files = previews, events, history, animation = [Lenience(option) for option in options]
    growth = Growth(outputs.animate, max_iterations)
    with interruptible() as signals, contextlib.ExitStack() as stack:
        board = None
        if outputs.view:
            page = open_view(
                outputs.image, provenance.command, max_iterations, metadata(complete=False)
            )
            board = stack.enter_context(page)
        with (
            progress(max_iterations, outputs.quiet) as show,
            event_log(outputs.logdir, max_iterations, events) as log,
        ):

            def callback(step: Step, best: Callable[[], NDArray[Any]]) -> bool:
                number = step.iteration
                resumed_from.setdefault("resumed_from", number if resumes else None)
                show(step)
                log(step, best)
                growth.add(step, best)
                if outputs.save_every and number and number % outputs.save_every == 0:
                    with previews.applied():
                        write(outputs.intermediate(number), best(), complete=False)
                if board is not None:
                    board.show(step, best)
                return bool(signals) or (board is not None and board.is_stopping)

            solution = task(callback)
        with phase("write image"):
            stopped = solution.stop_reason is StopReason.CALLBACK
            write(outputs.image, solution.image, complete=not (signals or stopped))
        if outputs.history is not None:
            with history.applied():
                atomic_write(outputs.history, _history_csv(solution).encode())
        with animation.applied():
            growth.write(solution.image)
        ended_by = "interrupted" if signals else "stopped" if stopped else ""
        if checkpoint is not None and not ended_by:
            checkpoint.remove()
        outcome = _outcome(outputs.image, solution, max_iterations, ended_by, checkpoint)
        if board is not None:
            board.end(outcome, solution.image)
    if not outputs.quiet:
        say(outcome)
    if outputs.json:
        pixels = np.rint(solution.image).clip(0, 255).astype(np.uint8)
        values = {
            "output": outputs.image,
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "initial_loss": solution.initial_loss,
            "loss": solution.loss,
            "terms": solution.terms,
            "iterations": solution.iterations,
            "evaluations": solution.evaluations,
            "seconds": round(solution.seconds, 3),
            "stop_reason": "interrupted" if signals else solution.stop_reason.value,
            "seed": provenance.options["seed"],
            "network": provenance.recipe.name,
        }
        if checkpoint is not None:
            values |= resumed_from
        values |= summary(solution, pixels) if summary else {}
        print(json.dumps(values))
    if signals:
        return EXIT_SIGNALED + signals[0]
    return EXIT_FAILED if any(file.failed for file in files) else 0


@contextlib.contextmanager
def interruptible() -> Iterator[list[int]]:
    """The first Ctrl-C or SIGTERM is noted, to end the search; a second one ends the program.

    Yields:
        The signals received so far.
    """
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if not received:
            received.append(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(EXIT_SIGNALED + number)

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in previous:
            signal.signal(number, handle)
    except ValueError:  # not the main thread, which receives signals
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _outcome(
    image: str, solution: Solution, total: int, ended_by: str, checkpoint: Checkpoint | None
) -> str:
    """What was written, how large it is, how long it took, and at what loss.

    `ended_by` says how the search ended early, if it did.
    """
    height, width = solution.image.shape[:2]
    minutes, seconds = divmod(round(solution.seconds), 60)
    took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    iterations = f"{solution.iterations} iterations"
    place = "a PNG to standard output" if image == "-" else image
    text = f"wrote {place}, {width}x{height} pixels, after {iterations} in {took}"
    if ended_by:
        text = f"{ended_by} after {solution.iterations} of {total} iterations and {took}; wrote "
        text += f"the best image so far, {place}, {width}x{height} pixels"
    text += f", loss {solution.loss:.4g}"
    if ended_by and checkpoint is not None and checkpoint.path.exists():
        text += "; the same command resumes"
    return text


def _history_csv(solution: Solution) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["iteration", "evaluations", "seconds", "loss", *solution.terms])
    for step in solution.history:
        terms = [step.terms[name] for name in solution.terms]
        writer.writerow(
            [step.iteration, step.evaluations, f"{step.seconds:.3f}", step.loss, *terms]
        )
    return text.getvalue()
