"""Progress of a search: a bar on a terminal or in a notebook, otherwise a line now and then."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rwgen.phases import Phase, listening

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

    from rwgen.optimize.solution import Step

LINE_SECONDS = 10.0
"""Seconds of a search between two lines."""

NARROW = 60
"""Number of columns below which a terminal shows no bar, so that the counter is whole."""

PHASES = {
    "targets": "targets",
    "first evaluation": "compiling",
    "first iteration": "compiling",
    "iterations": "optimizing",
}
"""What the bar says during a phase."""

Show = Callable[["Step"], None]
"""Shows a step."""


def live_console() -> Console | None:
    """A console for what is drawn anew; None where nothing of the kind is shown.

    It is standard error if that is a terminal, or the output of a notebook's cell.
    """
    if "IPython" in sys.modules and importlib.util.find_spec("ipywidgets") is not None:
        from rich.console import Console

        notebook = Console()
        if notebook.is_jupyter:
            return notebook
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return None if console.is_dumb_terminal else console


def narrow_columns() -> list[ProgressColumn]:
    """Columns of a narrow terminal: the counter, which stays whole, and the description."""
    from rich.progress import MofNCompleteColumn, TextColumn
    from rich.table import Column

    counter = MofNCompleteColumn(table_column=Column(no_wrap=True))
    return [counter, TextColumn("{task.description}", table_column=Column())]


@contextlib.contextmanager
def progress(total: int, quiet: bool) -> Iterator[Show]:
    """Show the progress of a search.

    Args:
        total: maximum number of iterations.
        quiet: whether to show nothing.

    Yields:
        A function to call after each step.
    """
    if quiet:
        yield lambda step: None
        return
    console = live_console()
    if console is None:
        yield _lines(total)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = narrow_columns()
    if console.width >= NARROW:
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
        ]
    with Progress(*columns, console=console, transient=True) as display:
        bar = _Bar(display, display.add_task("preparing", total=total, loss=""))
        with listening(bar):
            yield bar.show


def _lines(total: int) -> Show:
    """Print a line when `LINE_SECONDS` of the search have passed since the last one."""
    last: list[float] = []

    def show(step: Step) -> None:
        if not last:
            last.append(step.seconds)
        elif step.seconds - last[0] >= LINE_SECONDS:
            last[0] = step.seconds
            if sys.stderr is not None:  # `print` would then use standard output
                line = f"{step.iteration}/{total} iterations, {step.seconds:.0f} s"
                print(f"rwgen: {line}, loss {step.loss:.4g}", file=sys.stderr)

    return show


class _Bar:
    """A line that is drawn anew; a listener of `rwgen.phases`."""

    def __init__(self, display: Progress, task: TaskID) -> None:
        self._display, self._task = display, task
        self._name = ""

    def show(self, step: Step) -> None:
        """Show a step."""
        self._display.update(self._task, completed=step.iteration, loss=f"loss {step.loss:.4g}")

    def began(self, phase: Phase) -> None:
        """Show what is done."""
        name = PHASES.get(phase.name, self._name)
        if name != self._name:
            self._name = name
            # At once: what follows may keep the thread that draws from running.
            self._display.update(self._task, description=name, refresh=True)

    def ended(self, phase: Phase) -> None:
        """Leave what is shown until something else begins."""
