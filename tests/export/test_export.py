"""Exports, as loaded by a fresh process, TensorFlow's C API and Keras."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import rwgen
from rwgen.export.config import SIGNATURE_NAMES, ExportConfig
from rwgen.export.manifest import (
    MANIFEST_FILE,
    damaged_files,
    latest_version,
    read_manifest,
    version_folders,
)
from rwgen.export.saved_model import export_network
from rwgen.export.warmup import WARMUP_FILE
from rwgen.network.features import gram_matrix

LAYERS = ("conv1_1", "pool1")
SIZE = (20, 24)
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model with one version that accepts any image size."""
    folder = tmp_path_factory.mktemp("exports") / "small"
    config = ExportConfig(layers=LAYERS)
    assert export_network("ranvgg19", folder, config) == folder / "1"
    return folder


@pytest.fixture(scope="module")
def extractor():
    return rwgen.feature_extractor(rwgen.build_network(rwgen.Recipe(), "pool1"), LAYERS)


def images(batch, size=SIZE):
    rng = np.random.default_rng(batch)
    return rng.integers(0, 256, (batch, *size, 3), dtype=np.uint8)


def expected_outputs(extractor, name, pixels):
    features = extractor(rwgen.preprocess_input(pixels.astype(np.float32)))
    if name == "gram":
        features = {layer: gram_matrix(value) for layer, value in features.items()}
    if name == "pooled":
        features = {layer: np.mean(value, axis=(1, 2)) for layer, value in features.items()}
    return {layer: np.asarray(value) for layer, value in features.items()}


def signatures_of(version):
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    (graph,) = saved.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    return saved, dict(graph.signature_def)


LOADER = """
import ctypes, sys
from pathlib import Path
import numpy as np
import tensorflow as tf
model, source, target, *names = sys.argv[1:]
loaded = tf.saved_model.load(model)
data = dict(np.load(source, allow_pickle=True))
results = {}
for name, value in data.items():
    signature, number = name.split("/")
    function = loaded.signatures[signature]
    (spec,) = function.structured_input_signature[1].values()
    tensor = tf.constant(value.tolist() if value.dtype == object else value)
    outputs = function(**{spec.name: tensor})
    results |= {f"{name}/{layer}": output.numpy() for layer, output in outputs.items()}

library = ctypes.CDLL(str(next(Path(tf.__file__).parent.glob("libtensorflow_cc.so*"))))
for name in ("TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions",
             "TF_LoadSessionFromSavedModel", "TF_GraphOperationByName"):
    getattr(library, name).restype = ctypes.c_void_p
library.TF_Message.restype = ctypes.c_char_p
def load(folder):
    status = ctypes.c_void_p(library.TF_NewStatus())
    graph = ctypes.c_void_p(library.TF_NewGraph())
    options = ctypes.c_void_p(library.TF_NewSessionOptions())
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = library.TF_LoadSessionFromSavedModel(
        options, None, folder.encode(), tags, 1, graph, None, status)
    return session, graph, library.TF_GetCode(status), library.TF_Message(status).decode()
session, graph, code, message = load(model)
found = [name for name in names if library.TF_GraphOperationByName(graph, name.encode())]
results |= {"c_code": code, "c_message": message, "c_found": found}
results |= {"c_code_without_version": load(str(Path(model).parent))[2]}
assert "rwgen" not in sys.modules
np.savez(target, **results)
"""


@pytest.fixture(scope="module")
def requests():
    values = {}
    for batch in (1, 3):
        pixels = images(batch, (SIZE[0] + batch, SIZE[1]))
        for name in ("features", "gram", "pooled", "serving_default"):
            values[f"{name}/{batch}"] = pixels
        values[f"features_float/{batch}"] = pixels + np.float32(0.5)
        encoded = [tf.io.encode_png(image).numpy() for image in images(batch, (224, 224))]
        values[f"features_from_bytes/{batch}"] = np.array(encoded, object)
    return values


@pytest.fixture(scope="module")
def operations(model_folder):
    """Names of the graph operations of all inputs and outputs."""
    _, signatures = signatures_of(model_folder / "1")
    return [
        tensor.name.partition(":")[0]
        for signature in signatures.values()
        for tensor in (*signature.inputs.values(), *signature.outputs.values())
        if tensor.name
    ]


@pytest.fixture(scope="module")
def loaded(model_folder, requests, operations, tmp_path_factory):
    """Results of a fresh process that loads the model without rwgen, also with the C API."""
    folder = tmp_path_factory.mktemp("loaded")
    np.savez(folder / "requests.npz", **requests)
    run = subprocess.run(
        [sys.executable, "-c", LOADER, model_folder / "1", "requests.npz", "r.npz", *operations],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return dict(np.load(folder / "r.npz"))


def test_a_fresh_process_without_rwgen_gets_what_keras_computes(loaded, requests, extractor):
    results = {name: value for name, value in loaded.items() if not name.startswith("c_")}
    assert len(results) == len(requests) * len(LAYERS)
    for name, request in requests.items():
        kind, batch = name.split("/")
        pixels = images(int(batch), (224, 224)) if request.dtype == object else request
        for layer, value in expected_outputs(extractor, kind, pixels).items():
            found = results[f"{name}/{layer}"]
            assert (found.dtype, len(found)) == (np.float32, int(batch))
            np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_c_api_loads_it(loaded, operations):
    assert loaded["c_code"] == 0, loaded["c_message"]
    assert loaded["c_found"].tolist() == operations
    assert loaded["c_code_without_version"] != 0  # the check can fail


def test_keras_takes_it_as_a_layer_of_a_model(model_folder, extractor):
    layer = keras.layers.TFSMLayer(model_folder / "1", call_endpoint="pooled")
    inputs = keras.Input((*SIZE, 3), dtype="uint8")
    model = keras.Model(inputs, keras.ops.sum(layer(inputs)["pool1"], axis=1))
    pixels = images(2)
    expected = expected_outputs(extractor, "pooled", pixels)["pool1"].sum(axis=1)
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, rtol=1e-4)


def test_signatures_are_typed_batched_and_free_of_xla(model_folder):
    saved, signatures = signatures_of(model_folder / "1")
    assert "_XlaMustCompile" not in str(saved)
    names = {name for name in signatures if not name.startswith("__")}
    assert names == {"serving_default", *SIGNATURE_NAMES}
    for name in names:
        (tensor,) = signatures[name].inputs.values()
        assert tensor.tensor_shape.dim[0].size == -1
        for output in signatures[name].outputs.values():
            assert output.dtype == tf.float32.as_datatype_enum
            assert output.tensor_shape.dim[0].size == -1
        assert set(signatures[name].outputs) == set(LAYERS)
    assert list(signatures["serving_default"].inputs) == ["images"]
    dtypes = {name: next(iter(signatures[name].inputs.values())).dtype for name in names}
    assert tf.dtypes.as_dtype(dtypes["features"]) == tf.uint8
    assert dtypes["serving_default"] == dtypes["features"]
    assert tf.dtypes.as_dtype(dtypes["features_float"]) == tf.float32
    assert tf.dtypes.as_dtype(dtypes["features_from_bytes"]) == tf.string


def test_weights_are_stored_once(model_folder, extractor):
    (data,) = (model_folder / "1" / "variables").glob("*.data-*")
    assert 0 <= data.stat().st_size - 4 * extractor.count_params() < 4096


def test_the_warm_up_requests_can_be_replayed(model_folder):
    from tensorflow_serving.apis import prediction_log_pb2

    loaded = tf.saved_model.load(model_folder / "1")
    seen = []
    for record in tf.data.TFRecordDataset(str(model_folder / "1" / WARMUP_FILE)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "small"
        seen.append(request.model_spec.signature_name)
        values = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        outputs = loaded.signatures[seen[-1]](**{k: tf.constant(v) for k, v in values.items()})
        assert outputs["pool1"].shape[0] == 1
    assert tuple(seen) == SIGNATURE_NAMES


def test_the_manifest_tells_what_made_it_and_what_was_changed(model_folder, tmp_path):
    version = model_folder / "1"
    manifest = read_manifest(version)
    assert (manifest.name, manifest.layers) == ("small", LAYERS)
    network = rwgen.build_network(rwgen.Recipe(), "pool1")
    assert manifest.recipe["weights_sha256"] == rwgen.weight_fingerprints(network)
    recipe = rwgen.Recipe.from_dict(dict(manifest.recipe))
    rebuilt = rwgen.build_network(recipe, "pool1")
    assert rwgen.weight_fingerprints(rebuilt) == manifest.recipe["weights_sha256"]
    assert manifest.signatures["pooled"] == {
        "inputs": {"images": {"dtype": "uint8", "shape": [None, None, None, 3]}},
        "outputs": {name: {"dtype": "float32", "shape": [None, 64]} for name in LAYERS},
    }
    assert manifest.per_image == ("serving_default", *SIGNATURE_NAMES)
    assert damaged_files(version, manifest) == []
    (version / "assets.extra" / "more").write_text("x")
    try:
        assert damaged_files(version, manifest) == ["assets.extra/more"]
    finally:
        (version / "assets.extra" / "more").unlink()
    for text in ("", "[]", "{}", json.dumps({"schema_version": 2}), "[" * 100_000):
        (tmp_path / MANIFEST_FILE).write_text(text)
        with pytest.raises(rwgen.InvalidInputError, match="expected an export"):
            read_manifest(tmp_path)


def test_a_narrow_network_is_exported_with_its_channels_and_its_width(tmp_path):
    recipe = rwgen.Recipe(
        name="narrow", width=0.03, padding="symmetric", kernel_stddev=1, kernel_scaling="fan_in"
    )
    layers = ("conv1_2", "pool5", "fc6")
    config = ExportConfig(layers=layers, signatures=("features", "pooled"))
    version = export_network(recipe, tmp_path / "narrow", config)
    manifest = read_manifest(version)
    rebuilt = rwgen.build_network(rwgen.Recipe.from_dict(dict(manifest.recipe)), "fc6")
    assert manifest.recipe["width"] == 0.03
    outputs = manifest.signatures["features"]["outputs"]
    assert {name: output["shape"] for name, output in outputs.items()} == {
        "conv1_2": [None, 256, 256, 2],
        "pool5": [None, 8, 8, 15],
        "fc6": [None, 123],
    }
    pixels = images(1, (256, 256))
    found = tf.saved_model.load(version).signatures["features"](images=tf.constant(pixels))
    expected = expected_outputs(rwgen.feature_extractor(rebuilt, layers), "features", pixels)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5 * np.max(value))


def test_symmetric_padding_is_exported_for_images_of_any_size(tmp_path):
    recipe = rwgen.Recipe(name="symmetric", width=0.1, padding="symmetric", bias_stddev=0.3)
    config = ExportConfig(layers=("conv2_2", "pool2"), signatures=("features",))
    version = export_network(recipe, tmp_path / "symmetric", config)
    extractor = rwgen.feature_extractor(rwgen.build_network(recipe, "pool2"), config.layers)
    features = tf.saved_model.load(version).signatures["features"]
    for batch, size in ((1, (4, 4)), (3, (21, 34))):
        pixels = images(batch, size)
        found = features(images=tf.constant(pixels))
        for name, value in expected_outputs(extractor, "features", pixels).items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def test_versions_are_counted_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    config = ExportConfig(layers=("conv1_1",), signatures=("pooled",), size=SIZE)
    folder = tmp_path / "model"
    (folder / "7").mkdir(parents=True)
    (folder / "07x").mkdir()
    assert export_network("ranvgg19", folder, config) == folder / "8"
    (shape,) = (
        tensor.tensor_shape
        for tensor in signatures_of(folder / "8")[1]["serving_default"].inputs.values()
    )
    assert [dim.size for dim in shape.dim] == [-1, *SIZE, 3]
    assert latest_version(folder) == folder / "8"
    assert latest_version(folder / "8") == folder / "8"
    assert set(version_folders(folder)) == {7, 8}

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rwgen.export.saved_model.write_manifest", fail)
    with pytest.raises(rwgen.OutputError, match="No space left"):
        export_network("ranvgg19", folder, config)
    assert sorted(path.name for path in folder.iterdir()) == ["07x", "7", "8"]
    (tmp_path / "file").write_text("")
    with pytest.raises(rwgen.OutputError, match="writable folder"):
        export_network("ranvgg19", tmp_path / "file" / "model", config)
    with pytest.raises(rwgen.InvalidInputError, match="expected the folder of an exported"):
        latest_version(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ()}, "layers: expected"),
        ({"layers": (1,)}, "layers: expected"),
        ({"layers": ("pool1", "pool1")}, "layers: expected"),
        ({"signatures": ("features", "classify")}, "signatures: expected.*'classify'"),
        ({"size": (3,)}, "size: expected"),
        ({"size": (3.0, 4)}, "size: expected"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(rwgen.InvalidInputError, match=message):
        ExportConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ("conv9_1",)}, "conv9_1"),
        ({"layers": ("pool5", "fc6")}, "gram"),
        ({"layers": ("pool5",), "size": (16, 64)}, "at least 32"),
        ({"layers": ("fc6",), "signatures": ("features",), "size": (64, 64)}, "256x256"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_any_work(settings, message, tmp_path):
    with pytest.raises(rwgen.InvalidInputError, match=message):
        export_network("ranvgg19", tmp_path / "model", ExportConfig(**settings))
    assert list(tmp_path.iterdir()) == []
