"""`--logdir`: events that TensorBoard reads."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from rwgen import InvalidInputError, OutputError
from rwgen.cli.events import IMAGES_PER_RUN, event_log
from rwgen.images import read_image
from rwgen.optimize.solution import Step

PHOTO = Path(__file__).parent.parent.parent / "examples" / "astronaut.jpg"


def events(folder: Path) -> tuple[dict[str, dict[int, float]], dict[int, np.ndarray]]:
    """Scalars by name and step, and images by step."""
    scalars: dict[str, dict[int, float]] = {}
    images = {}
    (file,) = folder.glob("events.out.tfevents.*")
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            tensor = tf.make_ndarray(value.tensor)
            if value.tag == "image":
                images[event.step] = tf.io.decode_png(tensor[2]).numpy()
            else:
                scalars.setdefault(value.tag, {})[event.step] = float(tensor)
    return scalars, images


@pytest.mark.slow
def test_a_run_is_logged_as_in_its_history(call: Callable[..., Any], tmp_path: Path) -> None:
    output, history, folder = tmp_path / "i.png", tmp_path / "h.csv", tmp_path / "log" / "run"
    arguments = ("--layer", "conv1_1", "--size", 24, "--iterations", 7, "--octaves", 0)
    run = call(
        "invert", PHOTO, "-o", output, *arguments, "--history", history, "--logdir", folder, "-q"
    )
    assert (run.code, run.err) == (0, "")
    scalars, images = events(folder)
    assert set(scalars) == {"loss", "gradient_norm", "evaluations", "seconds", "terms/content"}
    with history.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row in rows:
        step = int(row["iteration"])
        for name, column in (("loss", "loss"), ("terms/content", "content")):
            np.testing.assert_allclose(scalars[name][step], float(row[column]), rtol=1e-6)
        assert scalars["evaluations"][step] == int(row["evaluations"])
        assert scalars["gradient_norm"][step] > 0
    assert scalars["gradient_norm"][7] < scalars["gradient_norm"][0]
    assert sorted(images) == list(range(8))
    np.testing.assert_array_equal(images[7], read_image(output))


@pytest.mark.parametrize(("total", "stop"), [(100, 100), (100, 43), (3, 3), (0, 0)])
def test_images_are_few_and_the_last_is_among_them(tmp_path: Path, total: int, stop: int) -> None:
    failures: list[OutputError] = []
    with event_log(str(tmp_path), total, failures.append) as log:
        for iteration in range(stop + 1):
            step = Step(iteration, iteration + 1, 1.0, {"style": 1.0}, 0.1, 0.5)
            log(step, lambda i=iteration: np.full((4, 5, 3), float(i)))  # type: ignore[misc]
    assert failures == []
    scalars, images = events(tmp_path)
    assert sorted(scalars["terms/style"]) == list(range(stop + 1))
    assert {0, stop} <= set(images)
    assert len(images) <= IMAGES_PER_RUN + 2
    assert all((image == step).all() for step, image in images.items())


def test_events_that_cannot_be_written_are_told_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    failures: list[OutputError] = []
    with event_log(str(tmp_path), 4, failures.append) as log:
        monkeypatch.setattr(tf.summary, "scalar", full)
        for iteration in range(2):
            log(Step(iteration, 1, 1.0, {}, 0.1, 0.5), lambda: np.zeros((4, 5, 3)))
        monkeypatch.setattr(tf.summary, "image", full)  # of the last step
    assert len(failures) == 3
    assert all("--logdir" in str(error) and "No space left" in str(error) for error in failures)


def test_an_error_of_the_search_is_not_blamed_on_the_events(tmp_path: Path) -> None:
    with (
        pytest.raises(tf.errors.ResourceExhaustedError),
        event_log(str(tmp_path), 4, lambda error: None),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor")


def test_without_tensorboard_the_way_to_install_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(InvalidInputError, match=r"rwgen\[tensorboard\]"),
        event_log(str(tmp_path), 1, lambda error: None),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_told(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ("--layer", "conv1_1", "--size", 24, "--iterations", 1)
    for place, code in (("file", 2), ("file/run", 1)):
        output = tmp_path / "i.png"
        run = call("invert", PHOTO, "-o", output, *arguments, "--logdir", tmp_path / place)
        assert run.code == code, run.err
        assert "--logdir" in run.err
        assert run.err.count("\n") == 1
        assert not output.exists()
