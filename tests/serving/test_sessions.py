"""What a session accepts is accepted: other shapes than declared, and models of TensorFlow 1."""

import json
import logging
import shutil

import numpy as np
import pytest
import tensorflow as tf
from serving_clients import GUARD, eventually, free, hp2, rest, rest_predict, running, stubs_of
from serving_models import VERSION, save_model, save_tensorflow_1
from tensorflow.compat import v1
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from rwgen.errors import InvalidInputError
from rwgen.serving import ModelConfig, Server


def by_session(folder, signature, **inputs):
    """Run a signature in a session of the test."""
    with tf.Graph().as_default(), v1.Session() as session:
        graph = v1.saved_model.load(session, ["serve"], str(folder / str(VERSION)))
        definition = graph.signature_def[signature]
        fetches = {name: info.name for name, info in definition.outputs.items()}
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        return session.run(fetches, feed)


def example(value):
    proto = tf.train.Example()
    proto.features.feature["x"].float_list.value.append(value)
    return proto.SerializeToString()


def grpc_outputs(server, signature, **inputs):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "hp2", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with stubs_of(server) as stubs:
        outputs = stubs.prediction.Predict(request, timeout=GUARD).outputs
    return {name: tf.make_ndarray(proto) for name, proto in outputs.items()}


def test_the_request_of_the_tutorial(old_server):
    """The declared shape is [?, 1]."""
    assert rest_predict(old_server, [1.0, 2.0, 5.0]) == (200, {"predictions": [2.5, 3.0, 4.5]})
    assert rest_predict(old_server, [[1.0], [2.0]]) == (200, {"predictions": [[2.5], [3.0]]})
    body = json.dumps({"inputs": 5.0})
    assert rest(old_server, "POST", "/v1/models/hp2:predict", body) == (200, {"outputs": 4.5})


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("serving_default", {"x": np.array([[1], [2], [3]], np.float32)}),
        ("examples", {"examples": np.array([example(8.0), example(-1.0)], object)}),
        ("variable", {"a": np.float32(3), "x": np.array([[1], [2]], np.float32)}),
        ("ids", {"texts": np.array([b"two", b"zero", b"none"], object)}),
    ],
)
def test_models_of_tensorflow_1(old, old_server, signature, inputs):
    expected = by_session(old, signature, **inputs)
    answers = grpc_outputs(old_server, signature, **inputs)
    assert set(answers) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(answers[name], values)


def test_a_variable_of_tensorflow_1_is_an_input_over_rest(old_server):
    inputs = {"a": 3.0, "x": [1.0, 2.0]}
    body = json.dumps({"signature_name": "variable", "inputs": inputs})
    status, content = rest(old_server, "POST", "/v1/models/hp2:predict", body)
    assert (status, content) == (200, {"outputs": [3.0 * 1 + 2, 3.0 * 2 + 2]})


def test_variables_of_tensorflow_1_are_state(old_server):
    (before,) = grpc_outputs(old_server, "count").values()  # without any input
    (after,) = grpc_outputs(old_server, "add", delta=np.float32(2.5)).values()
    assert after == before + 2.5
    assert grpc_outputs(old_server, "count")["counter"] == after
    status, content = rest_predict(old_server, [1.0], "count")
    assert (status, content) == (400, {"error": "Failed to get input map for signature: count"})


def test_a_saved_model_in_text_format(tmp_path):
    folder = save_tensorflow_1(tmp_path, ["zero"], as_text=True)
    assert (folder / str(VERSION) / "saved_model.pbtxt").is_file()
    with running(folder) as server:
        assert rest_predict(server, [1.0, 2.0, 5.0]) == (200, {"predictions": [2.5, 3.0, 4.5]})
        (folder / "124").mkdir()
        (folder / "124" / "saved_model.pbtxt").write_text("none")
        path = "/v1/models/hp2/versions/124"
        eventually(lambda: rest(server, "GET", path)[0] == 200)
        eventually(
            lambda: rest(server, "GET", path)[1]["model_version_status"][0]["state"] == "END"
        )


def test_shapes_of_tensorflow_2_are_hints_too(server):
    """The declared shapes are [?] for `x` and [?, 2] for `a`."""
    assert grpc_outputs(server, "batched", x=[[1.0, 2.0]])["y"].tolist() == [[2.5, 3.0]]
    rows = [{"a": [1, 2, 3], "b": 4}, {"a": [5, 6, 7], "b": 8}]
    assert rest_predict(server, rows, "two") == (200, {"predictions": [10, 26]})


def test_what_the_session_refuses_is_refused(server, saved):
    inputs = {"a": np.ones((2, 2), np.int32), "b": np.ones(3, np.uint8)}
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        by_session(saved, "two", **inputs)
    columns = {name: value.tolist() for name, value in inputs.items()}
    body = json.dumps({"signature_name": "two", "inputs": columns})
    status, content = rest(server, "POST", "/v1/models/hp2:predict", body)
    assert status == 400
    assert "Incompatible shapes" in caught.value.message
    assert content["error"] in caught.value.message


def test_a_model_that_cannot_be_loaded_leaves_the_others(saved, tmp_path, caplog):
    broken = tmp_path / "broken"
    (broken / "1").mkdir(parents=True)
    (broken / "1" / "saved_model.pb").write_bytes(b"none")
    models = [ModelConfig(name="broken", base_path=broken), hp2(saved)]
    with caplog.at_level(logging.ERROR, "rwgen.serving"), Server(free(), models) as server:
        assert "event=model_failed" in caplog.text
        assert rest_predict(server, [1.0]) == (200, {"predictions": [2.5]})
        (status,) = rest(server, "GET", "/v1/models/broken")[1]["model_version_status"]
        assert (status["state"], status["status"]["error_code"]) == ("END", "INVALID_ARGUMENT")
        assert rest(server, "POST", "/v1/models/broken:predict", '{"instances": [1.0]}')[0] == 404
        # It is served once it can be.
        save_model(broken, version=2, offset=1.0)
        eventually(
            lambda: (
                rest(server, "POST", "/v1/models/broken:predict", '{"instances": [1.0]}')
                == (200, {"predictions": [1.5]})
            )
        )
    shutil.rmtree(broken)
    with pytest.raises(InvalidInputError, match="a loadable version of broken"):
        Server(free(), models[:1]).start()
