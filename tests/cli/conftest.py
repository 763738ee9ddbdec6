"""Pictures to work on, and calls of `rwgen` inside this process."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rwgen.cli.main import main


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """Shells start background jobs with SIGINT ignored, and child processes inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module", autouse=True)
def searches_are_cheap(eager_module: None) -> None:
    """Calls in this process run eagerly; those in others are traced and compiled."""


NOTE = "rwgen: note: "
SHALLOW = ("--content-layer", "conv1_1", "--style-layer", "conv1_1", "--octaves", "0")


@dataclass(frozen=True)
class Run:
    """What a call of `main` gave; standard error without its notes, and these."""

    code: int
    out: bytes
    err: str
    notes: tuple[str, ...] = ()

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output, where there may be nothing else."""
        assert self.out.count(b"\n") == 1, self.out
        assert self.out.endswith(b"\n")
        values = json.loads(self.out)
        assert isinstance(values, dict)
        return values


def _call(*arguments: object, stdin: bytes = b"") -> Run:
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(err):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "stdout", out)
        code = main([str(argument) for argument in arguments])
        out.flush()
    lines = err.getvalue().splitlines(keepends=True)
    rest = "".join(line for line in lines if not line.startswith(NOTE))
    notes = tuple(line.removeprefix(NOTE).strip() for line in lines if line.startswith(NOTE))
    return Run(code, out.buffer.getvalue(), rest, notes)


def _picture(path: Path, width: int, height: int, seed: int) -> Path:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    pixels = smooth + generator.integers(-15, 16, (height, width, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@dataclass(frozen=True)
class Pictures:
    """Files of pictures; nothing may change them."""

    content: Path
    style: Path
    second: Path
    start: Path
    black: Path


@pytest.fixture(scope="session")
def call() -> Callable[..., Run]:
    """Call `rwgen` with arguments and, as `stdin`, bytes on standard input."""
    return _call


@pytest.fixture(scope="session")
def refused(call: Callable[..., Run]) -> Callable[..., str]:
    """Call `rwgen`, which must end with one line and the exit code `code`; that line."""

    def check(*arguments: object, code: int = 2, stdin: bytes = b"") -> str:
        run = call(*arguments, stdin=stdin)
        assert (run.code, run.out) == (code, b""), run
        assert run.err.startswith("rwgen: "), run.err
        assert run.err.splitlines(keepends=True) == [run.err], run.err
        assert run.err.endswith("\n")
        return run.err

    return check


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    folder = tmp_path_factory.mktemp("pictures")
    content = _picture(folder / "content.png", 48, 36, seed=1)
    # The same pixels in another format, so that a search from here has no content loss.
    with Image.open(content) as image:
        image.save(folder / "start.bmp")
    Image.new("RGB", (40, 40)).save(folder / "black.png")
    return Pictures(
        content=content,
        style=_picture(folder / "style.png", 40, 44, seed=2),
        second=_picture(folder / "second.png", 36, 48, seed=3),
        start=folder / "start.bmp",
        black=folder / "black.png",
    )


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


@pytest.fixture(scope="session")
def read_pixels() -> Callable[[Path], np.ndarray[Any, Any]]:
    """Pixels of an image file, by Pillow and not by rwgen."""
    return pixels_of


@pytest.fixture(scope="session")
def shallow() -> tuple[str, ...]:
    """Options of `rwgen style` that make it fast."""
    return SHALLOW


@dataclass
class FakeTasks:
    """What the tasks were called with; they return mid gray after three steps."""

    seen: list[dict[str, Any]] = field(default_factory=list)
    on_step: Callable[[int], None] = lambda iteration: None
    failure: BaseException | None = None
    recipes: list[Any] = field(default_factory=list)

    @property
    def last(self) -> dict[str, Any]:
        return self.seen[-1]

    def run(self, shape: tuple[int, ...], **seen: Any) -> Any:
        from rwgen.optimize.minimizer import Solution, Step, StopReason

        self.seen.append(seen)
        if self.failure is not None:
            raise self.failure
        image, history, reason = np.full(shape, 127.0), [], StopReason.MAX_ITERATIONS
        for iteration in range(4):
            history.append(Step(iteration, iteration + 1, 4.0 - iteration, {"term": 1.0}, 0.5, 2.0))
            self.on_step(iteration)
            if seen["callback"](history[-1], lambda: image):
                reason = StopReason.CALLBACK
                break
        return Solution(
            image, 4.0, 1.0, {"term": 1.0}, tuple(history), iteration, 4, 0, 0.5, reason
        )


@pytest.fixture
def fake_tasks(monkeypatch: pytest.MonkeyPatch) -> FakeTasks:
    """In place of network and optimization: tasks that only note what they are given."""
    import rwgen.synthesis.reuse
    import rwgen.synthesis.tasks

    fake = FakeTasks()

    def transfer_style(content: Any, styles: Any, **rest: Any) -> Any:
        return fake.run(content.shape, content=content, styles=styles, **rest)

    def synthesize_texture(sources: Any, size: tuple[int, int], **rest: Any) -> Any:
        return fake.run((*size, 3), sources=sources, size=size, **rest)

    def inpaint(image: Any, hole: Any, **rest: Any) -> Any:
        return fake.run(image.shape, image=image, hole=hole, **rest)

    def invert(image: Any, layer: str, **rest: Any) -> Any:
        return fake.run(image.shape, image=image, layer=layer, **rest)

    def shared_network(recipe: Any, until: str) -> tuple[str, str]:
        fake.recipes.append(recipe)
        return recipe.name, until

    for name, function in (
        ("transfer_style", transfer_style),
        ("synthesize_texture", synthesize_texture),
        ("inpaint", inpaint),
        ("invert", invert),
    ):
        monkeypatch.setattr(rwgen.synthesis.tasks, name, function)
    monkeypatch.setattr(rwgen.synthesis.reuse, "shared_network", shared_network)
    return fake
