"""`rwgen export` and `rwgen inspect`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rwgen.export.config import SIGNATURE_NAMES, ExportConfig
from rwgen.export.manifest import read_manifest

SMALL = ("--layers", "pool1, conv1_1", "--size", "24x16")


@pytest.fixture(scope="module")
def exported(call: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("export") / "small"
    arguments = ("-o", folder, *SMALL, "--signature", "pooled,features", "--json")
    return folder, call("export", "ranvgg19-zero-bias", *arguments)


def test_a_version_is_written_and_described(exported: Any) -> None:
    folder, run = exported
    assert (run.code, run.err) == (0, "")
    values = run.json
    assert values["output"] == str(folder / "1")
    manifest = read_manifest(folder / "1")
    assert manifest.layers == ("pool1", "conv1_1")
    assert list(manifest.signatures) == ["pooled", "features"] == list(values["signatures"])
    assert values["signatures"]["features"]["inputs"]["images"]["shape"] == [None, 16, 24, 3]
    assert values["recipe"]["name"] == "ranvgg19-zero-bias"
    assert values["bytes"] > 4 * 38_720  # the weights of two layers


def test_inspect_says_the_same_and_finds_what_was_changed(
    call: Callable[..., Any], exported: Any
) -> None:
    folder, run = exported
    found = call("inspect", folder, "--json").json
    written = run.json
    del found["folder"], written["output"]
    assert found == written
    assert found["damaged"] == []
    shown = call("inspect", folder / "1")
    assert shown.code == 0
    for text in ("small, version 1", "pooled", "uint8", "ranvgg19-zero-bias", "pool1: float32"):
        assert text in shown.out.decode()
    variables = folder / "1" / "variables" / "variables.index"
    before = variables.read_bytes()
    variables.write_bytes(before[:-1])
    try:
        run = call("inspect", folder)
        assert run.code == 2
        assert run.err.count("\n") == 1
        assert "variables/variables.index" in run.err
    finally:
        variables.write_bytes(before)


def test_the_defaults_are_those_of_the_library(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[ExportConfig] = []

    def export_network(_network: Any, _folder: Any, config: ExportConfig) -> Path:
        seen.append(config)
        return tmp_path

    monkeypatch.setattr("rwgen.export.saved_model.export_network", export_network)
    assert call("export", "ranvgg19", "-o", tmp_path / "m").code == 0
    assert call("export", "ranvgg19", "-o", tmp_path / "m", "--layers", "fc6").code == 0
    assert seen[0] == ExportConfig()
    assert seen[1].signatures == tuple(name for name in SIGNATURE_NAMES if name != "gram")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "expected a network"),
        (("ranvgg19", "--layers", "conv9"), "conv9"),
        (("ranvgg19", "--layers", "pool1,"), "''"),
        (("ranvgg19", "--signature", "classify"), "classify"),
        (("ranvgg19", "--layers", "fc6", "--signature", "gram"), "gram"),
        (("ranvgg19", "--size", "7"), "at least 32"),
        (("ranvgg19", "--size", "x"), "--size"),
    ],
)
def test_bad_calls_get_one_line_and_write_nothing(
    call: Callable[..., Any], arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    run = call("export", *arguments, "-o", tmp_path / "model")
    assert run.code == 2
    assert message in run.err
    assert run.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "[]", json.dumps({"schema_version": 1})])
def test_other_folders_are_no_exports(
    call: Callable[..., Any], content: str | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "saved_model.pb").touch()
        (tmp_path / "manifest.json").write_text(content)
    run = call("inspect", tmp_path)
    assert run.code == 2
    assert "expected" in run.err
    assert run.err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_a_failure(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    run = call("export", "ranvgg19", "-o", tmp_path / "file", "--layers", "conv1_1")
    assert run.code == 1
    assert "writable folder" in run.err
