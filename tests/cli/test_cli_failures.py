"""Runs that fail or are interrupted, with tasks that do as they are told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from PIL import Image

import rwgen

Call = Callable[..., Any]


@pytest.fixture
def arguments(pictures: Any, tmp_path: Path) -> tuple[object, ...]:
    (tmp_path / "results").mkdir()
    return ("texture", pictures.style, "--size", 16, "-o", tmp_path / "results" / "out.png")


@pytest.mark.parametrize("command", ["style", "texture", "invert"])
def test_an_optimisation_that_fails_is_one_line_and_writes_nothing(
    command: str, refused: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    fake_tasks.failure = rwgen.OptimizationError("expected a finite loss.\nReceived: NaN")
    images = [pictures.content] * (2 if command == "style" else 1)
    layer = ["--layer", "conv1_1"] if command == "invert" else []
    (tmp_path / "out.png").write_bytes(b"an earlier result")
    line = refused(command, *images, *layer, "-o", tmp_path / "out.png", "--force", "--json",
                   "--history", tmp_path / "h.csv", code=1)  # fmt: skip
    assert line == "rwgen: expected a finite loss. Received: NaN\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert (tmp_path / "out.png").read_bytes() == b"an earlier result"


@pytest.mark.parametrize(
    "failure",
    [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when\nallocating tensor")],
    ids=["Python", "TensorFlow"],
)
def test_too_little_memory_is_one_line(
    failure: BaseException, refused: Call, arguments: tuple[object, ...], fake_tasks: Any
) -> None:
    fake_tasks.failure = failure
    assert "memory" in refused(*arguments, code=1)


def test_an_unexpected_error_is_one_line(
    refused: Call, arguments: tuple[object, ...], fake_tasks: Any
) -> None:
    fake_tasks.failure = ZeroDivisionError("a bug\n" + "of many words " * 100)
    line = refused(*arguments, code=1)
    assert line.startswith("rwgen: unexpected error: ZeroDivisionError: a bug of many words")
    assert "rwgen --debug" in line
    assert len(line) < 300


def test_debug_shows_where_an_unexpected_error_arose(
    call: Call, arguments: tuple[object, ...], fake_tasks: Any
) -> None:
    fake_tasks.failure = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        call("--debug", *arguments)


def test_a_missing_file_inside_is_not_blamed_on_standard_output(
    refused: Call, arguments: tuple[object, ...], fake_tasks: Any
) -> None:
    fake_tasks.failure = FileNotFoundError(2, "No such file or directory", "kernel.so")
    assert "kernel.so" in refused(*arguments, code=1)


def test_a_folder_that_vanishes_meanwhile_is_one_line(
    refused: Call, arguments: tuple[object, ...], fake_tasks: Any, tmp_path: Path
) -> None:
    fake_tasks.on_step = lambda _: shutil.rmtree(tmp_path / "results", ignore_errors=True)
    assert "out.png" in refused(*arguments, code=1)
    assert not (tmp_path / "results").exists()


def test_a_folder_that_vanishes_between_intermediate_images_is_reported(
    call: Call, arguments: tuple[object, ...], fake_tasks: Any, tmp_path: Path
) -> None:
    fake_tasks.on_step = lambda n: shutil.rmtree(tmp_path / "results") if n == 2 else None
    run = call(*arguments, "--save-every", 1)
    assert (run.code, run.out) == (1, b"")
    preview, image = run.err.splitlines()
    assert preview.startswith("rwgen: --save-every: Expected a writable place. Received: ")
    assert "out-000002.png" in preview
    assert "out.png" in image


def test_other_files_that_cannot_be_written_are_reported_once_and_the_image_is_written(
    call: Call, arguments: tuple[object, ...], fake_tasks: Any, tmp_path: Path
) -> None:
    results, logs, state = (tmp_path / name for name in ("results", "logs", "state"))
    logs.mkdir()

    def spoil(iteration: int) -> None:
        if iteration == 1:  # where files would be, there are folders
            for place in ("results/out-000001.png", "results/out-000002.png", "logs/h.csv"):
                (tmp_path / place).mkdir()
            shutil.rmtree(state)
        fake_tasks.last["checkpoint"].save(search={"kept": iteration})

    fake_tasks.on_step = spoil
    run = call(*arguments, "--save-every", 1, "--history", logs / "h.csv", "--checkpoint", state,
               "--json", "--quiet")  # fmt: skip
    assert run.code == 1
    lines = run.err.splitlines()
    assert [line.split()[1] for line in lines] == ["--checkpoint:", "--save-every:", "--history:"]
    for line, name in zip(lines, ("search.npz", "out-000001.png", "h.csv"), strict=True):
        assert name in line
        assert line.endswith("; the run goes on")
    assert (run.json["iterations"], run.json["stop_reason"]) == (3, "max_iterations")
    with Image.open(results / "out.png") as image, Image.open(results / "out-000003.png") as last:
        assert image.size == last.size == (16, 16)


def test_a_checkpoint_that_is_not_needed_any_more_may_have_failed(
    call: Call, arguments: tuple[object, ...], fake_tasks: Any, tmp_path: Path
) -> None:
    def spoil(iteration: int) -> None:
        if iteration == 0:
            shutil.rmtree(tmp_path / "state")
        fake_tasks.last["checkpoint"].save(search={"kept": iteration})

    fake_tasks.on_step = spoil
    run = call(*arguments, "--checkpoint", tmp_path / "state", "--quiet")
    assert run.code == 0
    assert run.err.count("\n") == 1
    assert "No such file or directory" in run.err
    assert (tmp_path / "results" / "out.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["layers"], ["layers", "--json"], ["--version"], []])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_one_line(arguments: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rwgen.cli.main", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 1
    assert done.stderr == (
        "rwgen: expected a standard output that can be written. Received: No space left on device\n"
    )


def test_a_closed_standard_error_changes_nothing_else(
    call: Call, arguments: tuple[object, ...], fake_tasks: Any, tmp_path: Path
) -> None:
    main = sys.modules["rwgen.cli.main"].main  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        assert main([str(argument) for argument in arguments]) == 0
        assert main(["texture", "none.png", "-o", str(tmp_path / "out.png")]) == 2
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["out.png"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_the_best_image_and_says_so(
    number: signal.Signals,
    code: int,
    call: Call,
    arguments: tuple[object, ...],
    fake_tasks: Any,
    tmp_path: Path,
) -> None:
    before = signal.getsignal(number)
    fake_tasks.on_step = lambda n: os.kill(os.getpid(), number) if n == 2 else None
    history = tmp_path / "h.csv"
    run = call(*arguments, "--json", "--history", history)
    assert run.code == code
    assert run.err == (
        "rwgen: interrupted after 2 of 200 iterations and 0 s; wrote the best image so far, "
        f"{tmp_path / 'results' / 'out.png'}, 16x16 pixels, loss 1\n"
    )
    assert (run.json["stop_reason"], run.json["iterations"]) == ("interrupted", 2)
    with Image.open(tmp_path / "results" / "out.png") as image:
        assert image.size == (16, 16)
    assert len(history.read_text().splitlines()) == 1 + 3
    assert signal.getsignal(number) is before


def test_a_second_sigterm_ends_at_once_without_an_image(
    call: Call, arguments: tuple[object, ...], fake_tasks: Any, tmp_path: Path
) -> None:
    def twice(_: int) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    fake_tasks.on_step = twice
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    assert caught.value.code == 143
    assert list((tmp_path / "results").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_control_c_ends_at_once_without_an_image(
    call: Call, arguments: tuple[object, ...], fake_tasks: Any, tmp_path: Path
) -> None:
    def twice(_: int) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    fake_tasks.on_step = twice
    run = call(*arguments, "--json")
    assert (run.code, run.out, run.err) == (130, b"", "")
    assert list((tmp_path / "results").iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_control_c_while_the_network_is_built_writes_nothing(
    call: Call, arguments: tuple[object, ...], fake_tasks: Any, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    def interrupted(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("rwgen.synthesis.reuse.shared_network", interrupted)
    run = call(*arguments, "--json")
    assert (run.code, run.out, run.err) == (130, b"", "")
    assert list((tmp_path / "results").iterdir()) == []
