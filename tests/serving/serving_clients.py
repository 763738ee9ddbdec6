"""Running servers, and clients that send valid or malformed requests."""

import contextlib
import http.client
import json
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from rwgen.serving import ModelConfig, Server, ServerConfig

GUARD = 60
"""Seconds after which a test that hangs fails. No test waits this long to pass."""


def free(**values):
    """A configuration on free ports, with a short poll."""
    return ServerConfig(
        **{"rest_port": 0, "grpc_port": 0, "poll_interval": 0.05, "drain_timeout": GUARD, **values}
    )


def hp2(folder, **values):
    return ModelConfig(name="hp2", base_path=folder, **values)


@contextlib.contextmanager
def running(folder, labels=None, **values):
    with Server(free(**values), [hp2(folder, version_labels=labels or {})]) as server:
        yield server


def rest(server, method, path, body=None, headers=None, timeout=GUARD):
    """Send a request on a new connection; return status and parsed JSON, None for no body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def rest_predict(server, instances, signature="serving_default", version=""):
    body = json.dumps({"signature_name": signature, "instances": instances})
    return rest(server, "POST", f"/v1/models/hp2{version}:predict", body)


def raw(server, data, timeout=GUARD):
    """Send bytes to the REST port, and read until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=timeout) as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 16):
                received += part
    return received


@contextlib.contextmanager
def channel(server, credentials=None, options=()):
    target = f"localhost:{server.grpc_port}" if credentials else f"127.0.0.1:{server.grpc_port}"
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        *options,
    ]
    opened = (
        grpc.secure_channel(target, credentials, options=options)
        if credentials
        else grpc.insecure_channel(target, options=options)
    )
    with opened:
        yield opened


class Stubs:
    def __init__(self, opened):
        self.channel = opened
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(opened)
        self.model = model_service_pb2_grpc.ModelServiceStub(opened)

    def predict(self, values, signature="batched", timeout=GUARD, name="hp2", key="x", **spec):
        request = PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        if "version" in spec:
            request.model_spec.version.value = spec["version"]
        if "label" in spec:
            request.model_spec.version_label = spec["label"]
        request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
        return self.prediction.Predict(request, timeout=timeout)

    def y(self, values, **options):
        response = self.predict(np.asarray(values, np.float32), **options)
        return tf.make_ndarray(response.outputs["y"]).tolist()


@contextlib.contextmanager
def stubs_of(server, **options):
    with channel(server, **options) as opened:
        yield Stubs(opened)


def code_of(call):
    """Return the status code of a call, which must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def eventually(condition, seconds=GUARD):
    """Poll until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_threads(count, function):
    """Run a function in threads, each with its number; return results or errors in order."""
    results = [None] * count

    def run(number):
        try:
            results[number] = function(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
