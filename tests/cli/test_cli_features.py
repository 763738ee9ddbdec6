"""`rwgen features` without a server: a SavedModel and a newly built network agree."""

import functools
import json
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rwgen
from rwgen.client.config import ClientConfig
from rwgen.images import read_image, resize_image
from rwgen.serving import ModelConfig, Server, ServerConfig

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
    assert runs[0].err.splitlines()[-2:] == [
        "3/3 images",
        f"rwgen: wrote {tmp_path / 'a.npz'} with 3 of 3 images",
    ]
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


def test_features_are_replaced_with_force_alone(
    call: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "f.npz"
    output.write_bytes(b"earlier features")
    arguments = (PHOTOS[0], "--model", model, "--signature", "pooled", "--size", 16, "-o", output)
    run = call("features", *arguments)
    assert (run.code, run.err.count("\n")) == (2, 1)
    assert "--output: expected a new file, or --force. Received: " in run.err
    assert output.read_bytes() == b"earlier features"
    assert call("features", *arguments, "--force").code == 0
    assert set(np.load(output)) == {"files", "conv1_1", "pool1"}


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
        (("--model", "no-such-folder", "--layers", "pool1"), "--layer:"),
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
    for name, message in (("f.txt", ".npz"), ("none/f.npz", "--output: Expected a writable place")):
        run = call("features", PHOTOS[0], "-o", tmp_path / name, "--model", model)
        assert (run.code, message in run.err) == (2, True), run.err
    assert not output.exists()


def test_several_layers_in_one_array_are_refused_before_any_image_is_read(
    call: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    for source in (("--model", model), ("--network", "ranvgg19", *LAYERS)):
        run = call("features", tmp_path / "none.png", "-o", tmp_path / "f.npy", *source)
        assert (run.code, run.out) == (2, b"")
        assert re.search(
            r"several layers\. Received: \.npy for (conv1_1, pool1|pool1, conv1_1)\n$", run.err
        )
        assert run.err.count("\n") == 1, run.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of five photos, some of which cannot be used."""
    folder = tmp_path / "photos"
    (folder / ".cache").mkdir(parents=True)
    for photo in PHOTOS:
        shutil.copy(photo, folder)
    for hidden in ("._coffee.jpg", ".empty.png", ".cache/small.jpg"):
        (folder / hidden).write_bytes(b"")
    (folder / "bad.jpg").write_bytes(PHOTOS[1].read_bytes()[:3000])
    (folder / "large.png").write_bytes(declared_png(60000, 60000))
    return folder


def declared_png(width: int, height: int) -> bytes:
    """A PNG of very few bytes for the size that it declares."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    return data


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("pooled", ("image file is truncated", "3600000000 pixels|60000x60000 pixels")),
        ("features_from_bytes", ("jpeg::Uncompress failed", "at most")),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_images_that_cannot_be_used_are_left_out_and_named_at_the_end(
    call: Callable[..., Any], model: Path, folder: Path, signature: str, words: tuple[str, ...],
    batch_size: int,
) -> None:  # fmt: skip
    output, alone = folder / "f.npz", folder / "alone.npz"
    arguments = ("--model", model, "--signature", signature, "--json")
    run = call("features", folder, "-o", output, *arguments, "--batch-size", batch_size)
    assert run.code == 1
    *_, bad, large, last = run.err.splitlines()
    for line, name, word in zip((bad, large), ("bad.jpg", "large.png"), words, strict=True):
        assert line.startswith("rwgen: ")
        assert str(folder / name) in line
        assert re.search(word, line), line
    assert last == f"rwgen: wrote {output} with 3 of 5 images"
    good = [str(folder / photo.name) for photo in PHOTOS]
    assert run.json["files"] == good
    assert run.json["left_out"] == [str(folder / "bad.jpg"), str(folder / "large.png")]
    assert call("features", *good, "-o", alone, *arguments).code == 0
    found, expected = dict(np.load(output)), dict(np.load(alone))
    assert list(found.pop("files")) == list(expected.pop("files")) == good
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def test_where_no_image_can_be_used_nothing_is_written(
    call: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    images = [tmp_path / name for name in ("a.png", "b.png")]
    run = call("features", *images, "-o", tmp_path / "f.npz", "--model", model)
    assert (run.code, run.out) == (1, b"")
    for image, line in zip(images, run.err.splitlines(), strict=False):
        assert str(image) in line
    assert run.err.splitlines()[-1] == "rwgen: wrote nothing: none of 2 images can be used"
    assert list(tmp_path.iterdir()) == []


def test_what_was_computed_before_a_server_is_gone_is_written(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Source:
        """Answers once."""

        calls = 0

        def __init__(self, *_: Any) -> None:
            pass

        def __enter__(self) -> "Source":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def input_of(self, _signature: str) -> Any:
            return "images", np.dtype(np.uint8), (None, None, None, 3)

        def outputs_of(self, _signature: str) -> tuple[str, ...]:
            return ("pool1",)

        def predict(self, _signature: str, images: Any) -> dict[str, Any]:
            Source.calls += 1
            if Source.calls > 1:
                raise rwgen.ServerError("UNAVAILABLE", "gone")
            return {"pool1": images.mean(axis=(1, 2))}

    monkeypatch.setattr("rwgen.client.client.FeaturesClient", Source)
    output = tmp_path / "f.npy"
    run = call("features", *PHOTOS, "-o", output, "--server", "grpc://x:1/v1/models/x",
               "--batch-size", 1, "--size", 16, "--quiet")  # fmt: skip
    assert (run.code, run.out, Source.calls) == (1, b"", 2)
    assert run.err.splitlines() == [
        f"rwgen: {PHOTOS[1]} and all after it: expected a response from the server. Received: "
        "UNAVAILABLE: gone",
        f"rwgen: wrote {output} with 1 of 3 images",
    ]
    assert np.load(output).shape == (1, 3)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_batch_too_large_for_a_server_is_sent_in_parts_and_said(
    call: Callable[..., Any], model: Path, tmp_path: Path, scheme: str
) -> None:
    limits = {"max_request_bytes": 10_000, "max_pending_bytes": 80_000}
    config = ServerConfig(rest_port=0, grpc_port=0, **limits)
    arguments = ("--size", "50x40", "--signature", "pooled", "--batch-size", 3)
    with Server(config, [ModelConfig(name="small", base_path=model)]) as server:
        port = server.grpc_port if scheme == "grpc" else server.rest_port
        url = f"{scheme}://127.0.0.1:{port}/v1/models/small"
        if scheme == "http":  # text is longer
            arguments = ("--size", "20x16", *arguments[2:])
        output = tmp_path / "f.npz"
        run = call("features", *PHOTOS, "-o", output, "--server", url, *arguments)
    assert run.code == 0, run
    assert "a request of 3 images is too large for the server" in run.err
    assert "--batch-size" in run.err
    call("features", *PHOTOS, "-o", tmp_path / "g.npz", "--model", model, *arguments)
    found, expected = (np.load(tmp_path / name)["pool1"] for name in ("f.npz", "g.npz"))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


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


def test_changes_of_images_are_noted_once_for_all_files(
    call: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    clear = Image.new("RGBA", (8, 40), (200, 0, 0, 100))
    for name in "abc":
        clear.save(photos / f"{name}.png")
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    frames[0].save(photos / "film.gif", save_all=True, append_images=frames[1:])
    arguments = (photos, "--model", model, "--signature", "pooled", "--size", "24x16")
    run = call("features", *arguments, "-o", tmp_path / "f.npz")
    assert run.code == 0
    assert run.notes == (
        f"{photos / 'a.png'} and 2 more: transparent pixels are blended with white",
        f"{photos / 'a.png'} and 2 more: enlarged to 24x16 pixels, which adds no detail",
        f"{photos / 'film.gif'}: only the first of several frames is used",
    )
    run = call("features", *arguments, "-o", tmp_path / "g.npz", "--quiet")
    assert (run.code, run.err, run.notes) == (0, "", ())
