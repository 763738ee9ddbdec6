"""`--checkpoint`: the same command resumes runs that are killed, interrupted or out of space."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rwgen import Checkpoint
from rwgen.cli import session
from rwgen.optimize.checkpoint import FILE_NAME

Call = Callable[..., Any]


ITERATIONS = 12


def texture(pictures: Any, output: Path, *more: object) -> list[str]:
    """A run in two sizes, of six iterations each."""
    return [
        str(word)
        for word in (
            "texture", pictures.style, "--size", "64x64", "--source-size", 80, "--octaves", 1,
            "--layer", "conv1_1", "--iterations", ITERATIONS, "-o", output, *more,
        )
    ]  # fmt: skip


KILLED_WHILE_RUNNING = """
import os, signal, sys
import tensorflow as tf
from rwgen.cli.main import main
from rwgen.optimize.checkpoint import Checkpoint

save, written = Checkpoint.save, []

def save_and_die(self, **parts):
    save(self, **parts)
    written.append(parts)
    if len(written) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.save = save_and_die
tf.config.run_functions_eagerly(True)  # as in the process that resumes
main(sys.argv[2:])
"""


def kill_after(writes: int, arguments: list[str]) -> None:
    """Run `rwgen` in another process, which is killed once it has written so many checkpoints."""
    command = [sys.executable, "-c", KILLED_WHILE_RUNNING, str(writes), *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def uninterrupted(pictures: Any, call: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of `texture`, without a checkpoint."""
    path = tmp_path_factory.mktemp("uninterrupted") / "out.png"
    assert call(*texture(pictures, path)).code == 0
    return path


@pytest.mark.slow
def test_a_run_killed_in_both_sizes_ends_with_the_same_image(
    pictures: Any, tmp_path: Path, uninterrupted: Path, read_pixels: Call, call: Call
) -> None:
    out, folder = tmp_path / "out.png", tmp_path / "state"
    arguments = texture(pictures, out, "--checkpoint", folder, "--checkpoint-every", 2)
    kill_after(2, arguments)
    search = Checkpoint(folder).get("search")
    assert search is not None
    assert search["history"][-1]["iteration"] == 4
    kill_after(3, arguments)  # at the first size's end, when it is done, and in the second size
    assert Checkpoint(folder).get("sizes") is not None
    assert not out.exists()
    run = call(*arguments, "--json", "--quiet")
    assert (run.code, run.err) == (0, "")
    assert ITERATIONS / 2 <= run.json["resumed_from"] < run.json["iterations"] == ITERATIONS
    np.testing.assert_array_equal(read_pixels(out), read_pixels(uninterrupted))
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_after_control_c_the_same_command_resumes(
    pictures: Any, tmp_path: Path, uninterrupted: Path, read_pixels: Call, call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out, folder = tmp_path / "out.png", tmp_path / "state"
    # So seldom that only the interruption itself can have saved anything.
    arguments = texture(
        pictures, out, "--checkpoint", folder, "--checkpoint-every", 1000, "--save-every", 1
    )
    write_image = session.write_image

    def write_and_press(path: Any, *rest: Any, **named: Any) -> None:
        write_image(path, *rest, **named)
        if Path(path).name == "out-000003.png":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(session, "write_image", write_and_press)
    assert call(*arguments).code == 130
    monkeypatch.undo()
    best = read_pixels(out)
    assert (folder / FILE_NAME).exists()
    run = call(*arguments, "--json")
    assert run.json["resumed_from"] == 3
    np.testing.assert_array_equal(read_pixels(out), read_pixels(uninterrupted))
    assert not np.array_equal(best, read_pixels(out))
    assert list(folder.iterdir()) == []


def test_where_no_file_may_grow_a_run_ends_with_its_image(
    pictures: Any, tmp_path: Path, uninterrupted: Path, read_pixels: Call
) -> None:
    pytest.importorskip("resource")
    folder, out = tmp_path / "state", tmp_path / "out.png"
    limited = (
        "import resource, sys; from rwgen.cli.main import main; "
        "import tensorflow as tf; tf.config.run_functions_eagerly(True); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = texture(pictures, out, "--checkpoint", folder, "--checkpoint-every", 2, "--quiet")
    done = subprocess.run(
        [sys.executable, "-c", limited, *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("rwgen: "))
    assert line.startswith("rwgen: --checkpoint: Expected a writable place. Received: ")
    assert "File too large" in line
    assert {path.name for path in tmp_path.iterdir()} == {"state", "out.png"}
    assert list(folder.iterdir()) == []
    np.testing.assert_array_equal(read_pixels(out), read_pixels(uninterrupted))


# With tasks that do as they are told


@pytest.fixture
def arguments(pictures: Any, tmp_path: Path) -> tuple[object, ...]:
    return ("texture", pictures.style, "--size", 16, "-o", tmp_path / "out.png",
            "--checkpoint", tmp_path / "state")  # fmt: skip


@pytest.mark.parametrize("command", ["style", "texture", "invert"])
def test_every_command_gives_its_task_the_checkpoint(
    command: str, call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    images = [pictures.content] * (2 if command == "style" else 1)
    layer = ["--layer", "conv1_1"] if command == "invert" else []
    common = [command, *images, *layer, "-o", tmp_path / "out.png"]
    run = call(*common, "--checkpoint", tmp_path / "state", "--checkpoint-every", 7, "--json")
    assert run.code == 0
    assert run.json["resumed_from"] is None
    checkpoint = fake_tasks.last["checkpoint"]
    assert (checkpoint.path, checkpoint.every) == (tmp_path / "state" / FILE_NAME, 7)
    run = call(*common, "--json", "--force")
    assert fake_tasks.last["checkpoint"] is None
    assert "resumed_from" not in run.json


def save_at(fake_tasks: Any, at: int) -> None:
    def on_step(iteration: int) -> None:
        if iteration == at:
            fake_tasks.last["checkpoint"].save(search={"kept": 1})

    fake_tasks.on_step = on_step


def crash_at(fake_tasks: Any, at: int) -> None:
    save_at(fake_tasks, at)
    save = fake_tasks.on_step

    def on_step(iteration: int) -> None:
        save(iteration)
        if iteration == at:
            raise MemoryError

    fake_tasks.on_step = on_step


def test_the_state_outlives_a_run_that_fails_and_not_one_that_ends(
    arguments: tuple[object, ...], call: Call, refused: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    save_at(fake_tasks, 1)
    output, write = tmp_path / "out.png", fake_tasks.on_step

    def spoil(iteration: int) -> None:
        write(iteration)
        if iteration == 2:
            output.mkdir()

    fake_tasks.on_step = spoil
    refused(*arguments, code=1)
    assert (tmp_path / "state" / FILE_NAME).exists()
    output.rmdir()
    fake_tasks.on_step = lambda iteration: None
    assert call(*arguments, "--json").json["resumed_from"] == 0  # where the stand-in begins
    assert list((tmp_path / "state").iterdir()) == []


def test_control_c_after_the_last_iteration_keeps_the_state_and_the_command_resumes(
    arguments: tuple[object, ...], call: Call, refused: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    save_at(fake_tasks, 1)
    write = fake_tasks.on_step

    def press(iteration: int) -> None:
        write(iteration)
        if iteration == 3:
            os.kill(os.getpid(), signal.SIGINT)

    fake_tasks.on_step = press
    arguments = (*arguments, "--save-every", 1, "--history", tmp_path / "h.csv")
    assert call(*arguments).code == 130
    assert (tmp_path / "state" / FILE_NAME).exists()
    fake_tasks.on_step = lambda iteration: None
    assert call(*arguments).code == 0  # and what the run itself has written is replaced
    assert "which exists" in refused(*arguments)  # another run


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (("--seed", 5), "options.seed: 0, now 5"),
        (("--iterations", 9), "options.iterations: 200, now 9"),
        (("--network", "ranvgg19"), "ranvgg19"),
    ],
)
def test_the_state_of_another_run_is_refused_before_tensorflow_builds_anything(
    changed: tuple[object, ...],
    named: str,
    arguments: tuple[object, ...],
    refused: Call,
    fake_tasks: Any,
    tmp_path: Path,
) -> None:
    crash_at(fake_tasks, 1)
    refused(*arguments, code=1)
    built = len(fake_tasks.recipes)
    line = refused(*arguments, *changed)
    assert "expected a checkpoint of this run" in line
    assert named in line
    assert len(fake_tasks.recipes) == built == 1


def test_other_pixels_are_refused_and_another_place_is_not(
    arguments: tuple[object, ...], refused: Call, call: Call, pictures: Any, fake_tasks: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    moved = tmp_path / "moved.png"
    moved.write_bytes(pictures.style.read_bytes())
    crash_at(fake_tasks, 1)
    refused(*arguments, code=1)
    fake_tasks.on_step = lambda iteration: None
    line = refused("texture", pictures.content, *arguments[2:])
    assert "(begun with the source image style.png, now the source image content.png)" in line
    assert call("texture", moved, *arguments[2:]).code == 0


def test_an_input_that_changed_meanwhile_is_named(
    arguments: tuple[object, ...], refused: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    source = tmp_path / "source.png"
    source.write_bytes(pictures.style.read_bytes())
    crash_at(fake_tasks, 1)
    refused("texture", source, *arguments[2:], code=1)
    source.write_bytes(pictures.content.read_bytes())
    line = refused("texture", source, *arguments[2:])
    assert "(the source image source.png has changed)" in line


def test_a_checkpoint_takes_more_iterations(
    arguments: tuple[object, ...], refused: Call, call: Call, fake_tasks: Any
) -> None:
    crash_at(fake_tasks, 1)
    refused(*arguments, code=1)
    fake_tasks.on_step = lambda iteration: None
    run = call(*arguments, "--iterations", 201, "--json")
    assert (run.code, run.json["resumed_from"]) == (0, 0)  # where the stand-in begins
    assert fake_tasks.last["config"].optimizer.max_iterations == 201


def test_a_damaged_file_and_an_unusable_folder_are_one_line(
    arguments: tuple[object, ...], refused: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE_NAME).write_bytes(b"PK\x03\x04 and no more")
    assert "damaged" in refused(*arguments)
    (tmp_path / "file").touch()
    assert "folder" in refused(*arguments[:-1], tmp_path / "file")
    assert "folder" in refused(*arguments[:-1], tmp_path / "file" / "below")
    assert fake_tasks.seen == fake_tasks.recipes == []
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("every", [0, -3, "x"])
def test_iterations_between_writes_are_counted_from_one(
    every: object, arguments: tuple[object, ...], refused: Call
) -> None:
    assert "--checkpoint-every" in refused(*arguments, "--checkpoint-every", every)


def test_the_image_does_not_say_where_its_state_was(
    arguments: tuple[object, ...], call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    from PIL import Image

    assert call(*arguments, "--checkpoint-every", 3).code == 0
    with Image.open(tmp_path / "out.png") as image:
        kept = image.text["rwgen"]
    assert "checkpoint" not in kept
    assert json.loads(kept)["options"]["seed"] == 0
