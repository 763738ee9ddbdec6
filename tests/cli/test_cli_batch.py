"""`rwgen batch`: what is refused, done, skipped and tried again; folders; processes and Ray."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rwgen.cli import batch
from rwgen.cli.jobs import Done, Job, check, expand, read_rows
from rwgen.compute.machine import Machine

Call = Callable[..., Any]
JOBS = [
    {"task": "style", "content": "content.png", "style": ["style.png", "second.png"], "size": 40,
     "style-layer": ["conv1_1", "conv2_1"], "whiten-gram": False, "output": "a.png"},
    {"task": "texture", "source": "style.png", "size": "20x16", "seed": 3},
    {"task": "invert", "image": "content.png", "layers": "conv1_1", "size": 40},
]  # fmt: skip
CSV = """task,content,style,style-layer,whiten-gram,source,image,layers,size,seed,output
style,content.png,style.png; second.png,conv1_1;conv2_1,false,,,,40,,a.png
texture,,,,,style.png,,,20x16,3,

invert,,,,,,content.png,conv1_1,40,,
"""
TOML = """
size = 40
[[job]]
task = "style"
content = "content.png"
style = ["style.png", "second.png"]
style-layer = ["conv1_1", "conv2_1"]
whiten_gram = false
output = "a.png"
[[job]]
task = "texture"
source = "style.png"
size = "20x16"
seed = 3
[[ job ]]
task = "invert"
image = "content.png"
layers = "conv1_1"
"""
NAMES = ["a.png", "style-texture.png", "content-conv1_1.png"]


@pytest.fixture
def place(pictures: Any, tmp_path: Path) -> Path:
    for name in ("content", "style", "second"):
        shutil.copy(getattr(pictures, name), tmp_path / f"{name}.png")
    return tmp_path


def write(place: Path, jobs: Sequence[dict[str, Any]], name: str = "jobs.jsonl") -> Path:
    file = place / name
    file.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return file


@pytest.fixture
def in_process(jobs_here: None, fake_tasks: Any) -> Any:
    """Run jobs in this process, with tasks that only note what they are given."""
    return fake_tasks


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jobs.csv", CSV),
        ("jobs.toml", TOML),
        ("jobs.jsonl", "\n".join(json.dumps(job) for job in JOBS)),
    ],
)
def test_every_format_holds_the_same_jobs(
    name: str, text: str, call: Call, in_process: Any, place: Path
) -> None:
    (place / name).write_text(text)
    run = call("batch", place / name, "-o", place / "new" / "out", "--json")
    assert run.code == 0, run.err
    assert sorted(path.name for path in (place / "new" / "out").iterdir()) == sorted(NAMES)
    lines = [line.removeprefix("rwgen: ") for line in run.err.splitlines()]
    assert [line.split()[:2] for line in lines[:3]] == [[f"{n}/3", "wrote"] for n in (1, 2, 3)]
    assert lines[3].startswith("3 made, 0 already there, 0 failed in ")
    style, texture, inversion = in_process.seen
    assert style["content"].shape == (30, 40, 3)
    assert len(style["styles"]) == 2
    assert style["config"].style_layers == ("conv1_1", "conv2_1")
    assert not style["config"].whiten_gram
    assert (texture["size"], texture["config"].seed) == ((16, 20), 3)
    assert inversion["layer"] == ["conv1_1"]
    values = run.json
    assert (values["done"], values["skipped"], values["failed"]) == (3, 0, 0)
    assert [Path(job["output"]).name for job in values["jobs"]] == NAMES
    assert [job["state"] for job in values["jobs"]] == ["done"] * 3


def test_what_is_done_is_skipped_and_what_failed_is_tried_again(
    call: Call, in_process: Any, place: Path
) -> None:
    broken = place / "broken.png"
    broken.write_bytes(b"no image")
    jobs = write(place, [*JOBS, {"task": "texture", "source": "broken.png"}])
    first = call("batch", jobs, "-o", place / "out")
    assert (first.code, len(in_process.seen)) == (1, 3)
    (failed,) = [line for line in first.err.splitlines() if "failed:" in line]
    assert f"failed: {jobs}, line 4: Expected an intact PNG" in failed
    assert "3 made, 0 already there, 1 failed" in first.err

    shutil.copy(place / "style.png", broken)
    made = {name: (place / "out" / name).stat().st_mtime_ns for name in NAMES}
    again = call("batch", jobs, "-o", place / "out")
    assert (again.code, len(in_process.seen)) == (0, 4)
    assert "1 made, 3 already there, 0 failed" in again.err
    assert made == {name: (place / "out" / name).stat().st_mtime_ns for name in NAMES}


@pytest.mark.parametrize("what", ["pixels", "option", "network"])
def test_an_image_of_another_job_is_not_taken_for_its_own(
    what: str, call: Call, in_process: Any, place: Path
) -> None:
    job = dict(JOBS[1], network="recipe.json")
    recipe = place / "recipe.json"
    recipe.write_text(json.dumps({"schema_version": 1, "blocks": [[4, 2]] * 4}))
    job["layer"] = "conv1_1"
    jobs = write(place, [job])
    assert call("batch", jobs, "-o", place / "out").code == 0
    before = (place / "out" / "style-texture.png").read_bytes()
    if what == "pixels":
        with Image.open(place / "style.png") as image:
            image.rotate(180).save(place / "style.png")
    elif what == "network":
        recipe.write_text(json.dumps({"schema_version": 1, "blocks": [[5, 2]] * 4}))
    else:
        write(place, [dict(job, seed=4)])
    run = call("batch", jobs, "-o", place / "out")
    assert run.code == 1
    assert "expected a new file, or --force" in run.err
    assert (place / "out" / "style-texture.png").read_bytes() == before
    assert call("batch", jobs, "-o", place / "out", "--force").code == 0
    assert len(in_process.seen) == 2
    assert "1 already there" in call("batch", jobs, "-o", place / "out", "--force").err


def test_moved_inputs_and_recipes_make_no_other_job(
    call: Call, in_process: Any, place: Path
) -> None:
    write(place, [dict(JOBS[0], init="second.png")])
    assert call("batch", place / "jobs.jsonl", "-o", place / "out").code == 0
    moved = place / "moved"
    moved.mkdir()
    for name in ("content.png", "style.png", "second.png", "jobs.jsonl", "out"):
        (place / name).rename(moved / name)
    run = call("batch", moved / "jobs.jsonl", "-o", moved / "out")
    assert (run.code, len(in_process.seen)) == (0, 1)
    assert "1 already there" in run.err


def test_an_interrupted_image_is_made_again(call: Call, in_process: Any, place: Path) -> None:
    jobs = write(place, JOBS[1:2])
    in_process.on_step = lambda number: (
        os.kill(os.getpid(), signal.SIGTERM) if number == 1 else None
    )
    run = call("batch", jobs, "-o", place / "out")
    assert run.code == 1
    assert "failed:" in run.err
    assert "interrupted" in run.err
    with Image.open(place / "out" / "style-texture.png") as image:
        assert json.loads(image.text["rwgen"])["complete"] is False
    in_process.on_step = lambda number: None
    assert "1 made" in call("batch", jobs, "-o", place / "out").err
    with Image.open(place / "out" / "style-texture.png") as image:
        assert json.loads(image.text["rwgen"])["complete"] is True


def test_skip_done_is_an_option_of_every_image_command(
    call: Call, fake_tasks: Any, place: Path
) -> None:
    words = ("texture", place / "style.png", "-o", place / "t.png", "--skip-done")
    assert [call(*words).code, call(*words).code] == [0, 0]
    assert len(fake_tasks.seen) == 1
    assert "was made from the same" in call(*words).err
    assert call(*words, "--seed", 5).code == 2


BAD = {
    '{"task": "film"}': "task: expected one of style, texture, invert. Received: 'film'",
    '{"source": "style.png"}': "task: expected one of",
    "[1]": "expected a JSON object. Received: '[1]'",
    "{": "expected a JSON object. Received: '{'",
    '{"task": "texture", "source": "style.png", "tv-weight": 3}':
        "expected options of rwgen texture. Received: 'tv-weight'",
    '{"task": "texture", "source": "style.png", "size": 0}': "--size: expected WIDTHxHEIGHT",
    '{"task": "texture", "source": "style.png", "iterations": "x"}':
        "--iterations: expected a whole number from 0. Received: 'x'",
    '{"task": "texture", "source": "style.png", "iterations": true}':
        "iterations: expected a text or a number. Received: True",
    '{"task": "texture", "source": "style.png", "iterations": {"a": 1}}':
        "iterations: expected a text or a number",
    '{"task": "texture", "source": "style.png", "whiten-gram": 2}':
        "whiten-gram: expected true or false. Received: 2",
    '{"task": "texture", "source": "style.png", "seed": 1, "--seed": 2}': "expected every option",
    '{"task": "texture", "source": "style.png", "json": true}': "expected no json for a job",
    '{"task": "texture", "source": "style.png", "network": "none"}': "none",
    '{"task": "texture", "source": "style.png", "network": "ranvgg19", "layer": "fc7"}':
        "conv or pool layers",
    '{"task": "texture", "source": "style.png", "output": "x.jpg"}': "ending in .png",
    '{"task": "texture", "source": "style.png", "output": "no/x.png"}': "folder does not exist",
    '{"task": "texture", "source": "missing.png"}': "expected an image. Received: no file",
    '{"task": "texture"}': "expected a SOURCE image",
    '{"task": "style", "content": "content.png"}': "at least one STYLE image",
    '{"task": "invert", "image": "content.png", "layer": "conv1_1"}':
        "expected an image of its own",
}  # fmt: skip


@pytest.mark.parametrize("line", BAD)
def test_all_jobs_are_checked_before_any_work(
    line: str, refused: Call, in_process: Any, place: Path
) -> None:
    jobs = place / "jobs.jsonl"
    good = {"task": "invert", "image": "content.png", "layer": "conv1_1"}
    jobs.write_text(f"{json.dumps(good)}\n\n{line}\n")
    message = refused("batch", jobs, "-o", place / "out")
    assert message.startswith(f"rwgen: {jobs}, line 3: "), message
    assert BAD[line] in message
    assert in_process.seen == []
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("jobs.txt", "", "ending in .csv, .jsonl, .toml"),
        ("jobs.csv", "", "at least one job"),
        ("jobs.csv", "task,task\n", "every column once"),
        ("jobs.csv", "task,source\ntexture,style.png,more\n", "line 2: expected at most 2 cells"),
        ("jobs.csv", 'task,source\ntexture,"style.png\n', "expected CSV"),
        ("jobs.toml", "[[job]]\ntask = 'film'", "line 1: task"),
        ("jobs.toml", "task = '''\n[[job]]\n'''\n[[job]]", "job 1: task"),
        ("jobs.toml", "job = 3", "expected tables [[job]]"),
        ("jobs.toml", "job = [", "expected a TOML file"),
        ("jobs.jsonl", "\0", "line 1: expected a JSON object"),
    ],
)
def test_a_file_without_jobs_is_refused_in_one_line(
    name: str, text: str, words: str, refused: Call, place: Path
) -> None:
    (place / name).write_text(text)
    assert words in refused("batch", place / name, "-o", place / "out")


def test_a_missing_or_binary_file_is_refused(refused: Call, place: Path) -> None:
    assert "No such file" in refused("batch", place / "no.csv", "-o", place / "out")
    (place / "jobs.csv").write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused("batch", place / "jobs.csv", "-o", place / "out")
    write(place, JOBS)
    assert "--output: expected a folder" in refused(
        "batch", place / "jobs.jsonl", "-o", place / "style.png"
    )
    both = refused("batch", place / "jobs.jsonl", "-o", place / "out", "--ray", "x", "--workers", 1)
    assert "--workers: expected no value with --ray" in both


def folder_of(place: Path, name: str, *images: str) -> Path:
    folder = place / name
    folder.mkdir()
    for number, image in enumerate(images):
        shutil.copy(place / image, folder / f"{name}{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_folders_stand_for_all_pairs(call: Call, in_process: Any, place: Path) -> None:
    photos = folder_of(place, "photo", "content.png", "second.png")
    paints = folder_of(place, "paint", "style.png", "second.png")
    pairs = [f"photo{i}-in-paint{j}.png" for i, j in itertools.product(range(2), repeat=2)]
    words = ("style", photos, paints, "--size", 40, "--content-weight", 7)
    run = call(*words, "-o", place / "out", "--json")
    assert (run.code, run.json["done"]) == (0, 4)
    assert sorted(path.name for path in (place / "out").iterdir()) == pairs
    assert {seen["config"].content_weight for seen in in_process.seen} == {7.0}
    assert len(in_process.seen) == 4
    # A job of a file with folders is the same.
    jobs = write(place, [{"task": "style", "content": "photo", "style": "paint", "size": 40,
                          "content_weight": 7}])  # fmt: skip
    assert "4 already there" in call("batch", jobs, "-o", place / "out").err


def test_what_a_folder_cannot_have_is_refused(
    refused: Call, call: Call, in_process: Any, place: Path
) -> None:
    photos = folder_of(place, "photo", "content.png", "second.png")
    words = ("style", photos, place / "style.png")
    assert "--output: expected a folder" in refused(*words)
    assert "--output: expected a folder" in refused(*words, "-o", place / "new.png")
    assert "no --history with a folder" in refused(
        *words, "-o", place / "out", "--history", place / "h.csv"
    )
    two = refused("style", place / "content.png", photos, place / "style.png", "-o", place / "out")
    assert "expected a folder of images alone" in two
    shutil.copy(photos / "photo0.png", photos / "photo0.webp")
    assert "expected an image of its own" in refused(*words, "-o", place / "out")
    empty = place / "empty"
    empty.mkdir()
    assert "expected a folder of images" in refused("texture", empty, "-o", place / "out")
    assert in_process.seen == []


def test_a_folder_as_output_receives_the_usual_name(
    call: Call, fake_tasks: Any, place: Path
) -> None:
    (place / "out").mkdir()
    assert call("texture", place / "style.png", "-o", place / "out").code == 0
    assert (place / "out" / "style-texture.png").is_file()


def test_jobs_that_compute_the_same_follow_each_other(place: Path) -> None:
    names = ["content.png", "style.png"]
    rows = [
        {"task": "invert", "image": image, "layer": layer, "seed": seed, "output": f"{seed}.png"}
        for seed, (image, layer) in enumerate(itertools.product(names * 2, ["conv1_1", "conv2_1"]))
    ]
    out = place / "out"
    out.mkdir()
    jobs = check(
        [single for row in read_rows(write(place, rows)) for single in expand(row)], out, False
    )
    assert [Path(job.output).stem for job in jobs] == list("04152637")


def test_workers_share_the_memory_that_is_free(
    call: Call, in_process: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "available_memory", lambda device: 9 * 2**30)
    jobs = write(place, [JOBS[1], dict(JOBS[2], **{"memory-limit": "5GiB"})])
    assert call("batch", jobs, "-o", place / "out", "--workers", 3).code == 0
    assert [seen["memory_limit"] for seen in in_process.seen] == [3 * 2**30, 5 * 2**30]


@pytest.mark.parametrize(
    ("cores", "free", "threads", "jobs", "workers"),
    [(8, 100, 1, 3, 3), (8, 5, 1, 9, 1), (8, 7, 1, 9, 2), (8, None, 3, 9, 2), (1, 1, 1, 9, 1)],
)
def test_the_number_of_workers_follows_from_the_machine(
    cores: int, free: int | None, threads: int, jobs: int, workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    machine = Machine("", cores=cores, bound_cores=cores)
    monkeypatch.setattr(batch, "this_machine", lambda: machine)
    monkeypatch.setattr(batch, "available_memory", lambda device: free and free * 2**30)
    found = []
    monkeypatch.setattr(batch, "process_attempts", found.append)
    with batch._attempts([Job("", "style", {}, "", ())] * jobs, batch.How(threads=threads)):
        pass
    assert found == [workers]


def write_or_die(threads: int, job: Job) -> Done:
    """In place of a job: kill the process, or write the number of the process."""
    if Path(job.output).stem == "texture2":
        os.kill(os.getpid(), signal.SIGKILL)
    Path(job.output).write_text(str(os.getpid()))
    return Done(0, "", skipped=False, seconds=0.0)


def twelve(place: Path) -> Path:
    kinds = [{"task": "texture", "source": "style.png"},
             {"task": "style", "content": "content.png", "style": "style.png"},
             {"task": "invert", "image": "content.png", "layer": "conv1_1"}]  # fmt: skip
    rows = [{**kind, "output": f"{kind['task']}{n}.png"} for n in range(4) for kind in kinds]
    return write(place, rows)


@pytest.mark.parametrize(
    "where",
    [
        ("--workers", "1"),
        ("--workers", "2"),
        pytest.param(("--ray", "local"), marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_killed_loses_its_own_job_alone(
    where: tuple[str, str], call: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where[0] == "--ray":
        pytest.importorskip("ray", reason="the extra rwgen[ray] is not installed")
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setattr(batch, "_run", write_or_die)
    run = call("batch", twelve(place), "-o", place / "out", *where, "--json")
    values = run.json
    assert (run.code, values["done"], values["failed"]) == (1, 11, 1)
    (failed,) = [job for job in values["jobs"] if job["state"] == "failed"]
    assert Path(failed["output"]).name == "texture2.png"
    assert "expected" in failed["error"]
    processes = [path.read_text() for path in (place / "out").iterdir()]
    assert len(processes) == 11
    # Workers stay alive: the first ones, and one in place of the one that was killed.
    assert len(set(processes)) <= (int(where[1]) + 1 if where[0] == "--workers" else 4)


@pytest.mark.slow
def test_processes_write_the_same_images_as_the_commands(
    call: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    sizes = zip(JOBS, (32, "32x24", 32), strict=True)
    jobs = [dict(job, size=size, iterations=2) for job, size in sizes]
    run = call("batch", write(place, jobs), "-o", place / "out", "--workers", 2, "--quiet")
    assert (run.code, run.err) == (0, "")
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)
    options = ("--iterations", 2, "--size", 32)
    command = ("style", place / "content.png", place / "style.png", place / "second.png",
               "--style-layer", "conv1_1,conv2_1", "--no-whiten-gram")  # fmt: skip
    assert call(*command, *options, "-o", place / "direct.png").code == 0
    tf.config.run_functions_eagerly(True)
    with Image.open(place / "direct.png") as one, Image.open(place / "out" / "a.png") as other:
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1
