"""The file of a checkpoint: kept whole, and refused where it cannot be trusted."""

import errno
import json
import os
import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwgen import Checkpoint, CheckpointError, InvalidInputError, OutputError
from rwgen.optimize.checkpoint import FILE_NAME, fingerprint

PART = {
    "point": np.linspace(0, 1, 7, dtype=np.float32),
    "pairs": np.arange(6.0).reshape(2, 3),
    "failed": np.asarray(False),
    "count": np.asarray(7, np.int64),
    "loss": 0.1 + 0.2,
    "unbounded": float("inf"),
    "history": [{"iteration": 3, "terms": {"style": 1e-300}}],
}


def saved(folder, **facts):
    checkpoint = Checkpoint(folder)
    checkpoint.expect(seed=3, options={"size": (4, 5), "layers": ["a", "b"]}, **facts)
    checkpoint.save(search=PART, sizes={"done": 1})
    return checkpoint


def check_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert type(found[name]) is type(value)
        if isinstance(value, np.ndarray):
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            np.testing.assert_array_equal(found[name], value)
        else:
            assert found[name] == value


def test_another_object_finds_exactly_what_was_saved(tmp_path):
    folder = tmp_path / "made" / "with its parents"
    saved(folder)
    found = Checkpoint(folder)
    assert found.is_saved
    check_same(found.get("search"), PART)
    check_same(found.get("sizes"), {"done": 1})
    assert found.get("other") is None
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]


def test_parts_are_replaced_and_removed_one_by_one(tmp_path):
    saved(tmp_path).save(sizes={"done": 2, "image": PART["pairs"]}, search=None)
    found = Checkpoint(tmp_path)
    assert found.get("search") is None
    check_same(found.get("sizes"), {"done": 2, "image": PART["pairs"]})


def test_the_file_holds_no_pickles_and_is_read_without(tmp_path):
    saved(tmp_path)
    with np.load(tmp_path / FILE_NAME, allow_pickle=False) as content:
        assert "search/point" in content.files
        assert all(content[name].dtype != object for name in content.files)
    np.savez(tmp_path / FILE_NAME, json=np.array([{"a": 1}], object))
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint(tmp_path)


def test_removed_is_gone_and_may_be_removed_twice(tmp_path):
    checkpoint = saved(tmp_path)
    checkpoint.remove()
    checkpoint.remove()
    assert (checkpoint.is_saved, checkpoint.get("search")) == (False, None)
    assert list(tmp_path.iterdir()) == []
    checkpoint.expect(seed=4)  # nothing is left that could belong to another run


@pytest.mark.parametrize("every", [1, 3, 10])
def test_every_multiple_that_is_reached_or_passed_is_due(every):
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(folder, every)
    due, last = [], 0
    for iteration in range(0, 50, 2):
        if checkpoint.is_due(last, iteration):
            due.append(iteration)
            last = iteration
    expected = {min(i for i in range(0, 50, 2) if i >= n) for n in range(every, 49, every)}
    assert due == sorted(expected)


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
def test_iterations_between_writes_are_counted_from_one(every, tmp_path):
    with pytest.raises(InvalidInputError, match="from 1"):
        Checkpoint(tmp_path, every)


# Another run


def test_the_same_facts_are_accepted(tmp_path):
    saved(tmp_path)
    Checkpoint(tmp_path).expect(seed=3, options={"layers": ("a", "b"), "size": [4, 5]})


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"seed": 4}, "seed: 3, now 4"),
        ({"options": {"size": (4, 6), "layers": ["a", "b"]}}, "options.size: [4, 5], now [4, 6]"),
        ({"options": {"size": (4, 5)}}, "options.layers: ['a', 'b'], now None"),
        ({"stated": "only now"}, "stated: None, now 'only now'"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_name(facts, named, tmp_path):
    saved(tmp_path)
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(CheckpointError, match="Delete it to start over") as caught:
        Checkpoint(tmp_path).expect(**facts)
    assert named in str(caught.value)
    assert str(tmp_path / FILE_NAME) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_checkpoint_of_another_version_of_rwgen_is_refused(tmp_path, monkeypatch):
    saved(tmp_path)
    monkeypatch.setattr("rwgen.optimize.checkpoint.__version__", "99.0")
    with pytest.raises(CheckpointError, match=r"versions\.rwgen: .*, now '99\.0'"):
        Checkpoint(tmp_path)


def test_the_versions_of_what_computes_are_kept(tmp_path):
    saved(tmp_path)
    with np.load(tmp_path / FILE_NAME) as content:
        versions = json.loads(content["json"].tobytes())["facts"]["versions"]
    assert versions["numpy"] == np.__version__
    assert {"tensorflow", "tensorflow-probability", "keras", "pillow"} <= versions.keys()


def rewrite(folder, change):
    with np.load(folder / FILE_NAME) as content:
        arrays = dict(content)
    content = json.loads(arrays["json"].tobytes())
    change(content)
    arrays["json"] = np.frombuffer(json.dumps(content).encode(), np.uint8)
    np.savez(folder / FILE_NAME, **arrays)


def test_another_schema_version_is_refused(tmp_path):
    saved(tmp_path)
    rewrite(tmp_path, lambda content: content.update(schema_version=2, facts="of another form"))
    with pytest.raises(CheckpointError, match="schema version 2, now 1"):
        Checkpoint(tmp_path)


def test_no_message_shows_a_fingerprint(tmp_path):
    old, new = (fingerprint(np.full(3, value)) for value in (1.0, 2.0))
    checkpoint = Checkpoint(tmp_path)
    checkpoint.names[old] = "the photo"
    checkpoint.expect(images=[old, old], weights={"conv1_1": old})
    checkpoint.save(search={"kept": 1})
    for facts, expected in (
        ({"images": [old, new]}, "other images.1"),
        ({"images": [old]}, "other images"),
        ({"weights": {"conv1_1": new}}, "other weights.conv1_1"),
    ):
        with pytest.raises(CheckpointError, match=rf"\({expected}\)"):
            Checkpoint(tmp_path).expect(**facts)
    again = Checkpoint(tmp_path)
    again.names[new] = "the painting"
    with pytest.raises(CheckpointError, match="begun with the photo, now the painting"):
        again.expect(images=[old, new])


def test_fingerprints_tell_values_types_and_shapes_apart():
    arrays = [np.zeros(4), np.zeros((2, 2)), np.zeros(4, np.float32), np.array([0, 0, 0, 1.0])]
    assert len({fingerprint(array) for array in arrays}) == 4
    assert fingerprint(np.asfortranarray(np.eye(3)[:, :2])) == fingerprint(np.eye(3)[:, :2].copy())
    assert fingerprint(None) is None


# Damage


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intact")
    saved(folder)
    return (folder / FILE_NAME).read_bytes()


def refused_or_intact(content):
    """Whether the content is refused; if it is not, then nothing that counts has changed."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE_NAME).write_bytes(content)
        try:
            found = Checkpoint(folder)
        except CheckpointError:
            return True
        check_same(found.get("search"), PART)
        check_same(found.get("sizes"), {"done": 1})
        return False


@given(data=st.data())
def test_a_truncated_file_is_refused(intact, data):
    length = data.draw(st.integers(0, len(intact) - 1))
    assert refused_or_intact(intact[:length])


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(content):
    assert refused_or_intact(content)


@given(data=st.data())
def test_changed_bytes_are_refused_or_change_nothing(intact, data):
    content = bytearray(intact)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(intact) - 1))] ^= data.draw(st.integers(1, 255))
    refused_or_intact(bytes(content))


def test_a_changed_value_is_refused(intact):
    """The array's bytes lie open in the file; its checksum tells."""
    values = PART["point"].tobytes()
    assert intact.count(values) == 1
    assert refused_or_intact(intact.replace(values, values[::-1]))
    assert not refused_or_intact(intact)


@pytest.mark.parametrize("member", [None, b"", b"[]", b'{"schema_version": 1}'])
def test_an_archive_of_something_else_is_refused(member, tmp_path):
    with zipfile.ZipFile(tmp_path / FILE_NAME, "w") as archive:
        if member is not None:
            with archive.open("json.npy", "w") as file:
                np.lib.format.write_array(file, np.frombuffer(member, np.uint8))
    with pytest.raises(CheckpointError, match="damaged") as caught:
        Checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(CheckpointError, match="directory"):
        Checkpoint(tmp_path)


# Folders and disks


@pytest.mark.parametrize("name", ["file", "file/below", "n" * 300, "nul\0"])
def test_a_folder_that_cannot_be_made_is_refused(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="folder that can be written") as caught:
        Checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_a_folder_that_nobody_can_write_is_refused():
    with pytest.raises(InvalidInputError, match="folder that can be written"):
        Checkpoint("/proc/self/task")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_on_a_disk_that_takes_nothing_is_refused(number, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InvalidInputError, match=re.escape(os.strerror(number))):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_former_state(step, tmp_path, monkeypatch):
    checkpoint = saved(tmp_path)
    before = (tmp_path / FILE_NAME).read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif step == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        opened = Path.open

        def full(path, *arguments, **options):
            opened(path, *arguments, **options).close()
            return opened(Path("/dev/full"), "wb", buffering=0)

        if not Path("/dev/full").exists():
            pytest.skip("needs /dev/full")
        monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="No space left on device"):
        checkpoint.save(sizes={"done": 2})
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).read_bytes() == before
    check_same(Checkpoint(tmp_path).get("sizes"), {"done": 1})


def test_a_write_that_fails_is_told_where_that_is_wanted(tmp_path):
    failures = []
    checkpoint = Checkpoint(tmp_path / "state", on_failure=failures.append)
    checkpoint.path.parent.rmdir()
    checkpoint.save(sizes={"done": 2})
    checkpoint.path.parent.mkdir()
    checkpoint.save(search=None)
    (failure,) = failures
    assert isinstance(failure, OutputError)
    assert str(checkpoint.path) in str(failure)
    check_same(Checkpoint(tmp_path / "state").get("sizes"), {"done": 2})


def test_what_a_killed_write_left_is_removed_and_nothing_else(tmp_path):
    for name in (".rwgen-checkpoint-0123.tmp", ".rwgen-0123.tmp", "other.tmp"):
        (tmp_path / name).touch()
    Checkpoint(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".rwgen-0123.tmp", "other.tmp"}


def test_temporary_files_have_the_name_that_is_removed_later(tmp_path, monkeypatch):
    checkpoint = saved(tmp_path)
    left = []

    def kill(*_):
        left.extend(path.name for path in tmp_path.glob(".rwgen-checkpoint-*.tmp"))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(sizes=None)
    assert len(left) == 1


def test_a_file_that_cannot_be_removed_is_an_error_of_rwgen(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(OutputError, match="removed"):
        checkpoint.remove()
