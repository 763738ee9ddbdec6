"""Shards: their files, and workers of Ray that are killed at a given image."""

import contextlib
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rwgen
from rwgen.client.ray_shards import RETRIES, ShardJob, ShardReport, extract_on_ray
from rwgen.client.shards import FORMATS, SETTINGS_FILE, Shards
from rwgen.errors import OutputError

SETTINGS = {"network": "x", "size": "8x8"}


def read(path):
    """Names and tensors of a shard, without the code that wrote it."""
    if path.suffix == ".npz":
        arrays = dict(np.load(path))
        return list(arrays.pop("files")), arrays
    pq = pytest.importorskip("pyarrow.parquet", reason="the extra rwgen[ray] is not installed")
    table = pq.read_table(path)
    columns = [name for name in table.column_names if name != "file"]
    tensors = {name: table[name].combine_chunks().to_numpy_ndarray() for name in columns}
    return table["file"].to_pylist(), tensors


def shards_in(folder, kind="parquet"):
    return sorted(folder.glob(f"*.{kind}"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_shard_holds_names_and_tensors(tmp_path, kind):
    shards = Shards(tmp_path / "out", kind)
    shards.begin(SETTINGS)
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    shards.write(
        ["/a", "/\u00e9"], {"pooled": maps[:, 0, 0], "conv1_1": maps.transpose(0, 2, 1, 3)}
    )
    (path,) = shards_in(tmp_path / "out", kind)
    names, tensors = read(path)
    assert names == ["/a", "/\u00e9"]
    assert list(tensors) == ["pooled", "conv1_1"]
    np.testing.assert_array_equal(tensors["pooled"], maps[:, 0, 0])
    np.testing.assert_array_equal(tensors["conv1_1"], maps.transpose(0, 2, 1, 3))
    assert shards.finished() == {"/a": path, "/\u00e9": path}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_repeated_shard_replaces_itself_and_an_overlapping_one_is_removed(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra rwgen[ray] is not installed")
    shards = Shards(tmp_path / "out", kind)
    shards.begin(SETTINGS)
    value = np.zeros((2, 3), np.float32)
    for names in (["/a", "/b"], ["/a", "/b"], ["/c", "/d"]):
        shards.write(names, {"pool1": value})
    assert len(shards_in(tmp_path / "out", kind)) == 2
    assert sorted(shards.finished()) == ["/a", "/b", "/c", "/d"]
    shards.write(["/b", "/c"], {"pool1": value})
    finished = shards.finished()
    found = [name for path in shards_in(tmp_path / "out", kind) for name in read(path)[0]]
    assert sorted(found) == sorted(finished)  # each once


def test_a_folder_has_one_way_to_compute(tmp_path):
    shards = Shards(tmp_path / "out", "npz")
    shards.begin(SETTINGS)
    (tmp_path / "out" / ".rwgen-0123.tmp").write_bytes(b"left by a killed process")
    shards.begin(SETTINGS)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [SETTINGS_FILE]
    with pytest.raises(rwgen.InvalidInputError, match=r"size was '8x8'. Received: '9x9'"):
        shards.begin({**SETTINGS, "size": "9x9"})
    with pytest.raises(rwgen.InvalidInputError, match=r"format was 'npz'. Received: 'parquet'"):
        Shards(tmp_path / "out", "parquet").begin(SETTINGS)
    with pytest.raises(rwgen.InvalidInputError, match="new or empty folder, or one of shards"):
        Shards(tmp_path, "npz").begin(SETTINGS)
    with pytest.raises(OutputError, match="writable folder"):
        Shards(tmp_path / "none" / "out", "npz").begin(SETTINGS)
    (tmp_path / "out" / SETTINGS_FILE).write_text("[]")
    with pytest.raises(rwgen.InvalidInputError, match="settings that can be read"):
        shards.begin(SETTINGS)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_shard_is_named(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra rwgen[ray] is not installed")
    shards = Shards(tmp_path, kind)
    (tmp_path / f"features-0.{kind}").write_bytes(b"PAR1 no more")
    with pytest.raises(rwgen.InvalidInputError, match=f"features-0.{kind}.*Remove it"):
        shards.finished()


KILLS_ONCE, BROKEN, KILLS_ALWAYS, COUNT, SHARD = 117, 50, 183, 200, 20


class Colors:
    """A source whose features are the mean color, and whose process two images kill."""

    def __init__(self, marks):
        self.marks = marks

    def input_of(self, _signature):
        return "images", np.dtype(np.uint8), (None, None, None, 3)

    def outputs_of(self, _signature):
        return ("pool1",)

    def predict(self, _signature, images):
        for image in images:
            number = int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])
            with contextlib.suppress(FileExistsError):
                if number == KILLS_ONCE:
                    (self.marks / "once").touch(exist_ok=False)
                    os.kill(os.getpid(), signal.SIGKILL)
            if number == KILLS_ALWAYS:
                with (self.marks / "always").open("a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
        return {"pool1": images.mean((1, 2), dtype=np.float32)}


@contextlib.contextmanager
def open_colors(marks):
    yield Colors(marks)


# Ray Data itself uses what it calls deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow
def test_after_a_worker_is_killed_at_an_image_each_image_is_there_once(tmp_path, monkeypatch):
    pytest.importorskip("ray.data", reason="the extra rwgen[ray] is not installed")
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))  # workers import Colors
    folder, marks = tmp_path / "images", tmp_path / "marks"
    folder.mkdir()
    marks.mkdir()
    files = [str(folder / f"{number:03}.png") for number in range(COUNT)]
    for number, file in enumerate(files):
        Image.new("RGB", (8, 8), (number % 256, number // 256, 9)).save(file)
    Path(files[BROKEN]).write_bytes(b"no image")
    shards = Shards(tmp_path / "out", "parquet")
    shards.begin(SETTINGS)
    job = ShardJob(shards, partial(open_colors, marks), "pooled", (8, 8), 5, SHARD)

    reports = list(extract_on_ray(files, job, "local"))

    assert (marks / "once").exists()
    assert (marks / "always").read_text() == "x" * (RETRIES + 1)
    poisoned = range(KILLS_ALWAYS // SHARD * SHARD, (KILLS_ALWAYS // SHARD + 1) * SHARD)
    assert sum(report.images for report in reports) == COUNT - len(poisoned)
    assert {report.failure for report in reports} == {None}
    ((left_out, reason),) = [item for report in reports for item in report.left_out]
    assert left_out == files[BROKEN]
    assert files[BROKEN] in reason
    found = [read(path) for path in shards_in(tmp_path / "out")]
    names = [name for part, _ in found for name in part]
    expected = [n for n in range(COUNT) if n != BROKEN and n not in poisoned]
    assert sorted(names) == [files[number] for number in expected]  # none lost, none twice
    for part, tensors in found:
        numbers = [int(Path(name).stem) for name in part]
        colors = [[number % 256, number // 256, 9] for number in numbers]
        assert tensors["pool1"].tolist() == colors
    assert list(shards.finished()) == names
    assert isinstance(reports[0], ShardReport)
