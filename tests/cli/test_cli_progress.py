"""What a search says while it runs, on terminals and elsewhere, and when it has ended."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rwgen.cli.reproduce import _progress as progress_of_parts
from rwgen.optimize.solution import Step
from rwgen.phases import phase
from rwgen.progress import LINE_SECONDS, progress
from rwgen.reproduction.run import Advance

Call = Callable[..., Any]


def step(iteration: int, seconds: float = 0.0) -> Step:
    return Step(iteration, iteration + 1, 12.345678 / (iteration + 1), {}, seconds, 1.0)


class Terminal:
    """A pseudo-terminal in place of standard error."""

    def __init__(self, columns: int, kind: str) -> None:
        self._columns, self._kind = columns, kind
        self.shown = ""

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Show what the body prints; `shown` holds it afterwards."""
        pty = pytest.importorskip("pty")
        controller, terminal = pty.openpty()
        with pytest.MonkeyPatch.context() as patch, os.fdopen(terminal, "w") as stream:
            patch.setattr(sys, "stderr", stream)
            patch.setenv("TERM", self._kind)
            patch.setenv("COLUMNS", str(self._columns))
            parts: list[bytes] = []
            reader = threading.Thread(target=_read, args=(controller, parts))
            reader.start()
            yield
        reader.join()
        os.close(controller)
        self.shown = b"".join(parts).decode()


def _read(controller: int, parts: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # what Linux reports once nobody has the terminal open
        while part := os.read(controller, 65536):
            parts.append(part)


@pytest.mark.parametrize("columns", [24, 59, 60, 80, 200])
def test_a_terminal_of_any_width_shows_what_is_done_and_the_whole_counter(columns: int) -> None:
    terminal = Terminal(columns, "xterm")
    with terminal.attached(), progress(900, quiet=False) as show:
        with phase("targets", "64x48"):
            pass
        with phase("first evaluation", "64x48"):
            pass
        show(step(0))
        for iteration in range(1, 881):
            with phase("first iteration" if iteration == 1 else "iterations", "64x48"):
                pass
            show(step(iteration))
    places = [terminal.shown.find(word) for word in ("targets", "compiling", "optimizing")]
    assert -1 not in places
    assert places == sorted(places)
    assert terminal.shown.count("compiling") < 10  # drawn anew when it changes, and by the clock
    assert "880/900" in terminal.shown
    assert ("━" in terminal.shown) == (columns >= 60)
    assert ("loss 0.01401" in terminal.shown) == (columns >= 60)


def test_a_terminal_that_cannot_draw_anew_shows_lines() -> None:
    terminal = Terminal(80, "dumb")
    with terminal.attached(), progress(90, quiet=False) as show:
        for iteration in range(8):
            show(step(iteration, 0.5 * LINE_SECONDS * iteration))
    assert terminal.shown.split("\r\n") == [
        "rwgen: 2/90 iterations, 10 s, loss 4.115",
        "rwgen: 4/90 iterations, 20 s, loss 2.469",
        "rwgen: 6/90 iterations, 30 s, loss 1.764",
        "",
    ]


def test_elsewhere_there_is_a_line_every_some_seconds_of_the_search() -> None:
    with contextlib.redirect_stderr(io.StringIO()) as err, progress(90, quiet=False) as show:
        # A resumed search begins at its last step.
        for iteration, seconds in ((40, 100.0), (41, 109.9), (42, 110.0), (43, 119.0), (44, 131.0)):
            show(step(iteration, seconds))
    assert err.getvalue().splitlines() == [
        "rwgen: 42/90 iterations, 110 s, loss 0.2871",
        "rwgen: 44/90 iterations, 131 s, loss 0.2743",
    ]


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_quiet_shows_nothing(kind: str) -> None:
    terminal = Terminal(80, kind)
    with terminal.attached(), progress(90, quiet=True) as show:
        show(step(0))
        show(step(50, 1000.0))
    assert terminal.shown == ""


def test_parts_of_a_reproduction_are_counted_on_narrow_and_simple_terminals() -> None:
    narrow, simple = Terminal(24, "xterm"), Terminal(80, "dumb")
    for terminal in (narrow, simple):
        with terminal.attached(), progress_of_parts(quiet=False) as show:
            show(Advance(53, 72, 70_000.0))
    assert "53/72" in narrow.shown
    assert simple.shown == "rwgen: parts 53 of 72 about 1167 min left\r\n"


@pytest.fixture
def arguments(pictures: Any, tmp_path: Path) -> tuple[object, ...]:
    return ("texture", pictures.style, "--size", "20x16", "-o", tmp_path / "out.png")


def test_the_last_line_says_what_was_written(
    arguments: tuple[object, ...], call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    run = call(*arguments)
    wrote = "20x16 pixels, after 3 iterations in 0 s, loss 1\n"
    assert (run.code, run.err) == (0, f"rwgen: wrote {tmp_path / 'out.png'}, {wrote}")
    piped = call(*arguments[:-1], "-")
    assert (piped.code, piped.err) == (0, f"rwgen: wrote a PNG to standard output, {wrote}")
    assert call(*arguments, "--force", "--quiet").err == ""


def test_minutes_are_told(
    arguments: tuple[object, ...], call: Call, fake_tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_task = fake_tasks.run

    def slow(shape: tuple[int, ...], **seen: Any) -> Any:
        import dataclasses

        return dataclasses.replace(run_task(shape, **seen), seconds=212.4)

    monkeypatch.setattr(fake_tasks, "run", slow)
    assert "in 3 min 32 s, loss 1\n" in call(*arguments).err


def test_after_control_c_it_says_what_was_saved_and_how_to_go_on(
    arguments: tuple[object, ...], call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    def press(iteration: int) -> None:
        fake_tasks.last["checkpoint"].save(search={"kept": iteration})
        if iteration == 1:
            os.kill(os.getpid(), signal.SIGINT)

    fake_tasks.on_step = press
    run = call(*arguments, "--checkpoint", tmp_path / "state", "--iterations", 90)
    assert run.code == 130
    assert run.err == (
        "rwgen: interrupted after 1 of 90 iterations and 0 s; wrote the best image so far, "
        f"{tmp_path / 'out.png'}, 20x16 pixels, loss 1; the same command resumes\n"
    )
