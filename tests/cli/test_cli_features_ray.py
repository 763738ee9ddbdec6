"""`rwgen features --ray`: shards, what a second run computes, and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rwgen.client.extraction
from rwgen.client.ray_shards import ShardJob, ShardReport, _Worker

SMALL = ("--network", "ranvgg19", "--layer", "conv1_1,pool1", "--signature", "pooled",
         "--size", 16, "--shards", "npz")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images, of which one is damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (7, 12, 16, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards that workers are given, one after the other, in this process instead of Ray's."""
    computed: list[str] = []

    def extract_here(files: Sequence[str], job: ShardJob, address: str) -> Iterator[ShardReport]:
        assert address == "local"
        worker = _Worker(job)
        for start in range(0, len(files), job.shard_size):
            names = files[start : start + job.shard_size]
            computed.append(",".join(Path(name).stem for name in names))
            report = json.loads(worker({"files": names})["report"])
            yield ShardReport(report["images"], tuple(report["left_out"]), report["failure"])

    monkeypatch.setattr("rwgen.cli.features.extract_on_ray", extract_here)
    monkeypatch.setattr("rwgen.cli.features.check_ray_data", lambda: None)
    one_core = "rwgen.cli.features.open_on_one_core"  # TensorFlow has begun with more
    monkeypatch.setattr(one_core, rwgen.client.extraction.open_source)
    return computed


def arrays_in(folder: Path) -> dict[str, Any]:
    """The features of the first layer by image, each of which is there once."""
    found: dict[str, Any] = {}
    for path in folder.glob("*.npz"):
        arrays = dict(np.load(path))
        for name, value in zip(arrays["files"], arrays["conv1_1"], strict=True):
            assert name not in found
            found[str(name)] = value
    return found


def test_a_second_run_computes_what_is_missing(
    call: Callable[..., Any], folder: Path, tmp_path: Path, computed: list[str]
) -> None:
    output = tmp_path / "out"
    arguments = (folder, folder / "0.png", "-o", output, *SMALL, "--ray", "local",
                 "--shard-size", 3, "--batch-size", 2, "--json")  # fmt: skip
    run = call("features", *arguments)
    assert run.code == 1
    *progress, bad, last = run.err.splitlines()
    assert progress == ["3/7 images", "6/7 images", "7/7 images"]
    assert bad.startswith("rwgen: ")
    assert str(folder / "2.png") in bad
    assert last == f"rwgen: wrote {output} with 6 of 7 images"
    assert run.json == {
        "output": str(output), "images": 7, "computed": 6, "left_out": [str(folder / "2.png")],
        "shards": 3,
    }  # fmt: skip
    assert computed == ["0,1,2", "3,4,5", "6"]
    before = {path: path.read_bytes() for path in output.iterdir()}

    Image.new("RGB", (12, 12), (9, 99, 199)).save(folder / "2.png")
    Image.new("RGB", (12, 12)).save(folder / "7.png")
    (output / ".rwgen-1.tmp").write_bytes(b"left by a killed process")
    del computed[:]
    run = call("features", *arguments)
    assert (run.code, run.json["computed"], run.json["left_out"]) == (0, 2, [])
    assert computed == ["2,7"]
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(output.iterdir())) == len(before) + 1

    del computed[:]
    assert call("features", *arguments).json["computed"] == 0
    assert computed == []

    alone = tmp_path / "alone.npz"
    assert call("features", folder, "-o", alone, *SMALL[:-2]).code == 0
    expected, found = dict(np.load(alone)), arrays_in(output)
    assert sorted(found) == list(expected["files"])
    for name, value in zip(expected["files"], expected["conv1_1"], strict=True):
        np.testing.assert_allclose(found[str(name)], value, rtol=1e-4, atol=1e-5)


def test_other_settings_are_refused(
    call: Callable[..., Any], refused: Callable[..., str], folder: Path, tmp_path: Path,
    computed: list[str],
) -> None:  # fmt: skip
    arguments = (folder / "0.png", "-o", tmp_path / "out", *SMALL, "--ray", "local")
    assert call("features", *arguments).code == 0
    line = refused("features", *arguments, "--size", 24)
    assert "size was '16x16'. Received: '24x24'" in line
    assert computed == ["0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shards", "npz"), "--shards: expected --ray too"),
        (("--shard-size", "3"), "--shard-size: expected --ray too"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    refused: Callable[..., str], folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    output = folder / "f.npz"
    line = refused("features", folder, "-o", output, "--network", "ranvgg19", *arguments)
    assert message in line
    assert not output.exists()


def test_a_folder_for_shards_is_checked(
    refused: Callable[..., str], folder: Path, computed: list[str]
) -> None:
    arguments = (folder, *SMALL, "--ray", "local", "-o")
    assert "--output" in refused("features", *arguments, folder / "0.png")
    assert "--force: expected no --force" in refused("features", *arguments, folder, "--force")
    assert "--output" in refused("features", *arguments, folder / "none" / "out")
    assert "new or empty folder" in refused("features", *arguments, folder)
    assert computed == []


def test_a_worker_that_ends_at_every_attempt_is_reported(
    call: Callable[..., Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rwgen.cli.features.extract_on_ray", lambda *_: (_ for _ in ()))
    monkeypatch.setattr("rwgen.cli.features.check_ray_data", lambda: None)
    run = call("features", folder, "-o", tmp_path / "out", *SMALL, "--ray", "local")
    assert run.code == 1
    first, last = run.err.splitlines()
    assert f"{folder / '0.png'} and 6 more: " in first
    assert "--shard-size 1" in first
    assert last == f"rwgen: wrote {tmp_path / 'out'} with 0 of 7 images"


@pytest.mark.parametrize("package", ["ray", "pyarrow"])
def test_without_ray_data_the_way_to_install_it_is_told(
    refused: Callable[..., str], folder: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    line = refused("features", folder, "-o", folder / "out", *SMALL, "--ray", "local")
    assert "rwgen[ray]" in line
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_a_local_cluster_gives_the_same(
    call: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray.data", reason="the extra rwgen[ray] is not installed")
    arguments = ["features", folder, "-o", "out", *SMALL, "--ray", "local", "--shard-size", 4]
    run = subprocess.run(
        [sys.executable, "-m", "rwgen.cli.main", *map(str, arguments)],
        cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (1, ""), run.stderr
    *progress, bad, last = run.stderr.splitlines()  # nothing of Ray's or TensorFlow's
    assert progress[-1] == "7/7 images"
    assert str(folder / "2.png") in bad
    assert last == "rwgen: wrote out with 6 of 7 images"
    alone = tmp_path / "alone.npz"
    assert call("features", folder, "-o", alone, *SMALL[:-2], "--quiet").code == 1
    expected, found = dict(np.load(alone)), arrays_in(tmp_path / "out")
    assert sorted(found) == list(expected["files"])
    for name, value in zip(expected["files"], expected["conv1_1"], strict=True):
        np.testing.assert_allclose(found[str(name)], value, rtol=1e-4, atol=1e-5)
