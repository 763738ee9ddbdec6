"""Records of probes: what they hold, and which files are refused."""

import json

import pytest

from rwgen import InvalidInputError
from rwgen.probe import LayerProbe, ProbeRecord, open_record, summarize
from rwgen.probe.record import Inversion

SETTINGS = {"image_sha256": "abc", "size": 16, "max_iterations": 10, "bias_stddev": 2.0}
PROBES = {
    Inversion("alexnet", "", "conv1", 1): LayerProbe("conv1", "Conv2D", (4, 4, 96), 1, 40.5, 0.9,
                                                     1e-4),
    Inversion("m.keras", "f00", "end", 0): LayerProbe("end", "Dense", (5,), 0, reason="no reason"),
}  # fmt: skip


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "probe.json"
    record = ProbeRecord(
        settings=SETTINGS,
        probes=dict(PROBES),
        summaries=summarize("alexnet", 16, [next(iter(PROBES.values()))]),
        ranking=[("alexnet", 40.5)],
    )
    record.write(path)
    found = open_record(path, SETTINGS)
    assert found.settings == SETTINGS
    assert list(found.probes.items()) == list(PROBES.items())
    assert (found.summaries, found.ranking) == ([], [])


def test_the_file_format_stays(tmp_path):
    """Files of earlier versions are resumed, so that names and nesting may not change."""
    path = tmp_path / "probe.json"
    ProbeRecord(settings=SETTINGS, probes=dict(PROBES), ranking=[("alexnet", 40.5)]).write(path)
    values = json.loads(path.read_text())
    assert list(values) == ["schema", "rwgen", "settings", "ranking", "layers", "probes"]
    assert values["schema"] == 1
    assert values["ranking"] == [{"model": "alexnet", "psnr": 40.5}]
    assert values["probes"][0] == {
        "model": "alexnet",
        "model_sha256": "",
        "probe": {
            "layer": "conv1",
            "kind": "Conv2D",
            "shape": [4, 4, 96],
            "seed": 1,
            "psnr": 40.5,
            "ssim": 0.9,
            "loss": 1e-4,
            "reason": "",
        },
    }


def test_no_file_is_an_empty_record(tmp_path):
    assert open_record(tmp_path / "new.json", SETTINGS) == ProbeRecord(settings=SETTINGS)


@pytest.mark.parametrize("text", ["{}", "[1", "[]", '{"schema": 1, "settings": {}, "probes": [1]}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="written by `rwgen probe`"):
        open_record(path, SETTINGS)
    assert path.read_text() == text


@pytest.mark.parametrize("setting", [{"size": 32}, {"max_iterations": 11}, {"image_sha256": "b"}])
def test_other_settings_are_refused(tmp_path, setting):
    path = tmp_path / "probe.json"
    ProbeRecord(settings=SETTINGS, probes=dict(PROBES)).write(path)
    with pytest.raises(InvalidInputError, match="the same photo, size and iterations"):
        open_record(path, {**SETTINGS, **setting})
