"""Whole probes: which inversions are made, with which weights, and what is kept of them."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from rwgen import InvalidInputError
from rwgen.probe import LayerProbe, ProbeConfig, probe_architectures, probe_layer
from rwgen.probe.architectures import load_architecture
from rwgen.seeds import standard_normal

IMAGE = np.random.default_rng(0).uniform(0, 255, (16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two models of two layers each."""
    folder = tmp_path_factory.mktemp("models")
    for name, filters in (("small", 2), ("large", 3)):
        inputs = keras.Input((16, 16, 3))
        first = keras.layers.Conv2D(filters, 3, padding="same", name="first")(inputs)
        second = keras.layers.Conv2D(filters, 3, 2, padding="same", name="second")(first)
        keras.Model(inputs, second, name=name).save(folder / f"{name}.keras")
    return [str(folder / "small.keras"), str(folder / "large.keras")]


@pytest.fixture
def inverted(monkeypatch):
    """In place of inversions, which take seconds: the layers asked for, and sums of the weights."""
    seen = []

    def invert(model, layer, image, seed, max_iterations):
        seen.append((model.name, layer, seed))
        total = float(sum(np.abs(weight).sum(dtype=float) for weight in model.get_weights()))
        shape = model.get_layer(layer).output.shape[1:]
        return LayerProbe(layer, "Conv2D", tuple(shape), seed, total, 0.5, 0.1)

    monkeypatch.setattr("rwgen.probe.layers._invert_layer", invert)
    return seen


def test_every_layer_is_inverted_with_the_weights_of_its_seed(files, inverted, tmp_path):
    config = ProbeConfig(num_seeds=2)
    record = probe_architectures(files, IMAGE, tmp_path / "probe.json", config=config)
    assert inverted == [
        (model, layer, seed)
        for model in ("small", "large")
        for seed in (0, 1)
        for layer in ("first", "second")
    ]
    for key, probe in record.probes.items():
        model = load_architecture(key.model, 16)
        assert probe == probe_layer(model, key.layer, IMAGE, key.seed, config)
    assert [(row.layer, row.reduction) for row in record.summaries] == [
        ("first", 1), ("second", 2),
    ] * 2  # fmt: skip
    for row in record.summaries:
        values = [p.psnr for k, p in record.probes.items() if k.model == row.model]
        assert row.psnr_range == (min(values), max(values))
    assert [name for name, _ in record.ranking] == files[::-1]


def test_weights_are_drawn_once_for_each_seed(files, inverted, tmp_path, monkeypatch):
    drawn = []

    def counted(seed, stream, shape):
        drawn.append((seed, stream))
        return standard_normal(seed, stream, shape)

    monkeypatch.setattr("rwgen.probe.random_weights.standard_normal", counted)
    config = ProbeConfig(num_seeds=2)
    probe_architectures(files[:1], IMAGE, tmp_path / "probe.json", config=config)
    assert len(inverted) == 4
    assert len(drawn) == len(set(drawn)) == 2 * 4  # two kernels and two biases


def test_a_probe_resumes_and_grows(files, inverted, tmp_path):
    path = tmp_path / "probe.json"
    whole = probe_architectures(files, IMAGE, tmp_path / "whole.json", config=ProbeConfig())
    inverted.clear()

    class Stop(Exception):  # noqa: N818
        pass

    def stop(model, probe, number, total):
        assert total == 2
        written = json.loads(path.read_text())
        assert [row["probe"]["layer"] for row in written["probes"]] == [probe.layer]
        raise Stop

    one = ProbeConfig(num_seeds=1)
    with pytest.raises(Stop):
        probe_architectures(files[:1], IMAGE, path, config=one, callback=stop)
    calls = []
    record = probe_architectures(
        files[:1], IMAGE, path, config=one, callback=lambda *call: calls.append(call)
    )
    assert calls == [(files[0], list(record.probes.values())[1], 1, 1)]
    assert inverted == [("small", "first", 0), ("small", "second", 0)]
    assert record.ranking == []  # one model is no contest
    again = probe_architectures(files[:1], IMAGE, path, config=one)
    assert again == record
    assert json.loads(json.dumps(record.to_dict())) == json.loads(path.read_text())
    more = probe_architectures(files, IMAGE, path, config=ProbeConfig())
    assert list(more.probes)[:2] == list(record.probes)
    assert (more.probes, more.summaries, more.ranking) == (
        whole.probes,
        whole.summaries,
        whole.ranking,
    )
    assert len(inverted) == len(set(inverted)) == 12


def test_a_model_file_that_changed_is_another_model(files, inverted, tmp_path):
    path, model = tmp_path / "probe.json", tmp_path / "model.keras"
    for file in files:
        model.write_bytes(Path(file).read_bytes())
        record = probe_architectures([str(model)], IMAGE, path, config=ProbeConfig(num_seeds=1))
    assert [name for name, _, _ in inverted] == ["small"] * 2 + ["large"] * 2
    assert len({key.model_sha256 for key in record.probes}) == 2


def test_names_that_keras_counts_up_are_the_same_every_time(inverted, tmp_path):
    keras.layers.LayerNormalization()
    image = np.zeros((32, 32, 3), np.float32)
    config = ProbeConfig(layers=("layer_normalization",), num_seeds=1)
    record = probe_architectures(["convnexttiny"], image, tmp_path / "probe.json", config=config)
    assert [row.layer for row in record.summaries] == ["layer_normalization"]


def test_everything_is_refused_before_any_inversion(files, inverted, tmp_path):
    path = tmp_path / "probe.json"
    for arguments, words in (
        ((files, IMAGE[:8]), r"image: expected \[side, side, 3\]"),
        (([files[0], "vgg99"], IMAGE), "near: vgg19, vgg16"),
        ((["missing.keras"], IMAGE), "a model saved by Keras.*No such file"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            probe_architectures(*arguments, path)
    with pytest.raises(InvalidInputError, match="Received: third"):
        probe_architectures(files, IMAGE, path, config=ProbeConfig(layers=("first", "third")))
    assert not path.exists()
    assert inverted == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_seeds": 0}, "num_seeds: expected an integer from 1. Received: 0"),
        ({"num_seeds": True}, "num_seeds: expected an integer from 1. Received: True"),
        ({"max_iterations": 1.5}, "max_iterations: expected an integer from 0. Received: 1.5"),
        (
            {"bias_stddev": float("nan")},
            "bias_stddev: expected a finite number from 0. Received: n",
        ),
        ({"bias_stddev": -1}, "bias_stddev: expected a finite number from 0. Received: -1"),
        ({"layers": (1,)}, "layers: expected a tuple of layer names. Received: (1,)"),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(InvalidInputError) as caught:
        ProbeConfig(**values)
    assert str(caught.value).startswith(message)
