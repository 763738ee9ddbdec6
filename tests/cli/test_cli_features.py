"""`rwgen features` without a server: a SavedModel and a newly built network agree."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rwgen
from rwgen.client.config import ClientConfig
from rwgen.images import read_image, resize_image

ROOT = Path(__file__).parent.parent.parent
PHOTOS = [ROOT / "examples" / name for name in ("astronaut.jpg", "coffee.jpg", "gravel.jpg")]
LAYERS = ("--layers", "conv1_1,pool1")


@pytest.fixture(scope="module")
def model(call: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features") / "small"
    assert call("export", "ranvgg19", "-o", folder, *LAYERS).code == 0
    return folder


@pytest.mark.parametrize(
    ("signature", "options"),
    [
        ("features", ("--size", "24x16")),
        ("features_float", ("--size", "24x16", "--batch-size", 2)),
        ("features_from_bytes", ("--batch-size", 2)),
        ("gram", ("--size", 16)),
        ("pooled", ()),
    ],
)
def test_a_model_and_a_network_give_the_same(
    call: Callable[..., Any],
    model: Path,
    tmp_path: Path,
    signature: str,
    options: tuple[object, ...],
) -> None:
    arguments = (*PHOTOS, "--signature", signature, *options)
    runs = [
        call("features", *arguments, *source, "-o", tmp_path / name)
        for name, source in (
            ("a.npz", ("--model", model)),
            ("b.npz", ("--network", "ranvgg19", *LAYERS)),
        )
    ]
    assert [run.code for run in runs] == [0, 0], runs
    assert runs[0].out == b""
    assert runs[0].err.splitlines()[-1] == "3/3 images"
    first, second = (dict(np.load(tmp_path / name)) for name in ("a.npz", "b.npz"))
    assert list(first.pop("files")) == list(second.pop("files")) == [str(p) for p in PHOTOS]
    assert set(first) == set(second) == {"conv1_1", "pool1"}
    for name, value in first.items():
        assert (value.dtype, len(value)) == (np.float32, 3)
        np.testing.assert_allclose(value, second[name], rtol=1e-4, atol=1e-5)


def test_the_features_are_those_of_keras(call: Callable[..., Any], tmp_path: Path) -> None:
    arguments = ("--network", "ranvgg19", "--layers", "pool1", "--size", "24x16", "--quiet")
    run = call("features", PHOTOS[0], "-o", tmp_path / "f.npy", *arguments, "--json")
    assert (run.code, run.err) == (0, "")
    assert run.json["shapes"] == {"pool1": [1, 8, 12, 64]}
    pixels = np.rint(resize_image(read_image(PHOTOS[0]), 16, 24))[np.newaxis]
    network = rwgen.build_network(rwgen.Recipe(), "pool1")
    expected = network(rwgen.preprocess_input(pixels))
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), expected, rtol=1e-4, atol=1e-5)


def test_folders_are_searched_and_json_is_written(
    call: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos" / "more"
    folder.mkdir(parents=True)
    for place, photo in zip((folder, folder.parent), PHOTOS, strict=False):
        shutil.copy(photo, place)
    (folder / "notes.txt").write_text("no image")
    arguments = ("--model", model, "--signature", "pooled", "--size", 16)
    assert call("features", folder.parent, "-o", tmp_path / "f.json", *arguments).code == 0
    values = json.loads((tmp_path / "f.json").read_text())
    assert values["files"] == [
        str(folder.parent / "coffee.jpg"),
        str(folder / "astronaut.jpg"),
    ]
    assert np.shape(values["features"]["pool1"]) == (2, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one of --server, --model and --network"),
        (("--network", "ranvgg19", "--model", "x"), "one of --server, --model and --network"),
        (("--network", "nothing"), "expected a network"),
        (("--network", "ranvgg19", "--layers", "conv9"), "conv9"),
        (("--network", "ranvgg19", "--signature", "classify"), "classify"),
        (("--network", "ranvgg19", "--size", "16"), "a --size of at least 32"),
        (("--network", "ranvgg19", "--layers", "fc6", "--size", "64"), "a --size of 256x256"),
        (("--model", "no-such-folder"), "expected the folder of an exported model"),
        (("--model", "no-such-folder", "--layers", "pool1"), "--layers"),
        (("--server", "http://localhost:8501"), "expected a server's URL"),
        (("--server", "ftp://localhost/v1/models/x"), "expected a server's URL"),
    ],
)
def test_bad_calls_get_one_line_and_write_nothing(
    call: Callable[..., Any], arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    run = call("features", PHOTOS[0], "-o", tmp_path / "f.npz", *arguments)
    assert (run.code, run.out) == (2, b"")
    assert message in run.err
    assert run.err.count("\n") == 1, run.err
    assert list(tmp_path.iterdir()) == []


def test_bad_files_are_named(call: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n but no more than that")
    webp = tmp_path / "photo.webp"
    Image.new("RGB", (8, 8)).save(webp)
    output = tmp_path / "f.npz"
    for image, signature, message in (
        (tmp_path / "no.png", "features", "no.png"),
        (tmp_path / "no.png", "features_from_bytes", "no.png"),
        (bad, "features", "bad.png"),
        (bad, "features_from_bytes", "expected an image of at most"),
        (tmp_path / "empty", "features", "folder of images"),
        (webp, "features_from_bytes", f"expected JPEG and PNG files. Received: {str(webp)!r}"),
    ):
        run = call("features", image, "-o", output, "--model", model, "--signature", signature)
        assert run.code == 2
        assert message in run.err
        assert run.err.count("\n") == 1, run.err
    for name, message in (("f.txt", ".npz"), ("none/f.npz", "existing folder")):
        run = call("features", PHOTOS[0], "-o", tmp_path / name, "--model", model)
        assert (run.code, message in run.err) == (2, True), run.err
    run = call("features", PHOTOS[0], "-o", tmp_path / "f.npy", "--model", model, "--size", 16)
    assert (run.code, "several layers" in run.err) == (2, True), run.err
    assert not output.exists()


@pytest.mark.parametrize("signature", ["features", "pooled"])
def test_a_size_too_small_for_a_model_is_named(
    refused: Callable[..., str], model: Path, tmp_path: Path, signature: str
) -> None:
    arguments = ("--model", model, "--signature", signature, "--size", "1x9")
    line = refused("features", PHOTOS[0], "-o", tmp_path / "f.npz", *arguments)
    assert line == (
        "rwgen: expected images of at least 2 pixels a side. Received height and width: 9 1\n"
    )


def test_a_damaged_export_is_named(
    refused: Callable[..., str], model: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "cut")
    (data,) = (tmp_path / "cut" / "1" / "variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[:-1000])
    line = refused("features", PHOTOS[0], "-o", tmp_path / "f.npz", "--model", tmp_path / "cut")
    assert "expected an intact SavedModel" in line
    assert str(tmp_path / "cut" / "1") in line
    assert not (tmp_path / "f.npz").exists()


def test_an_unreachable_server_is_a_failure(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hasty = functools.partial(ClientConfig, max_attempts=1)  # retries are tested in tests/client
    monkeypatch.setattr("rwgen.cli.features.ClientConfig", hasty)
    for scheme in ("http", "grpc"):
        url = f"{scheme}://127.0.0.1:9/v1/models/x"
        run = call("features", PHOTOS[0], "-o", tmp_path / "f.npz", "--server", url)
        assert run.code == 1
        assert "UNAVAILABLE" in run.err
        assert run.err.count("\n") == 1, run.err
    assert list(tmp_path.iterdir()) == []
