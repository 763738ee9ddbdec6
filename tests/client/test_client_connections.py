"""Clients of a server that ends, and of connections that are lost, at a given request."""

import asyncio
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

import rwgen
from rwgen import AsyncFeaturesClient, ClientConfig, FeaturesClient, ServerError
from rwgen.serving import ModelConfig, Server, ServerConfig
from rwgen.serving.models.servable import Servable

GUARD = 60
"""Seconds after which a test that hangs fails. No test waits this long to pass."""

PATIENT = ClientConfig(images_per_request=1, max_attempts=9, first_wait=0.05, timeout=GUARD)
SCHEMES = pytest.mark.parametrize("scheme", ["grpc", "http"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of two signatures: the images as floats, and their number."""
    images = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")

    class Echo(tf.Module):
        @tf.function(input_signature=[images])
        def floats(self, images):
            return {"pool1": tf.cast(images, tf.float32)}

        @tf.function(input_signature=[images])
        def count(self, images):
            return {"count": tf.shape(images)[:1]}

    model, path = Echo(), tmp_path_factory.mktemp("echo")
    signatures = {"features": model.floats, "count": model.count}
    tf.saved_model.save(model, str(path / "1"), signatures=signatures)
    return path


def images_of(count, side):
    """Images whose pixels are their number."""
    numbers = np.arange(count, dtype=np.uint8)
    return np.broadcast_to(numbers[:, None, None, None], (count, side, side, 3))


def serving(folder, rest_port=0, grpc_port=0):
    config = ServerConfig(rest_port=rest_port, grpc_port=grpc_port, drain_timeout=GUARD)
    return Server(config, [ModelConfig(name="echo", base_path=folder)])


def url_of(scheme, port):
    return f"{scheme}://127.0.0.1:{port}/v1/models/echo"


def port_of(server, scheme):
    return server.grpc_port if scheme == "grpc" else server.rest_port


def eventually(condition):
    end = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def runs(monkeypatch):
    """The numbers of the images that servers compute, and what to do before one is computed."""
    run = Servable.run

    class Runs(list):
        before = staticmethod(lambda number: None)

    runs = Runs()
    runs.models = set()

    def noted(servable, signature, inputs):
        runs.models.add(id(servable))
        number = int(inputs["images"].flat[0])
        runs.append(number)
        runs.before(number)
        return run(servable, signature, inputs)

    monkeypatch.setattr(Servable, "run", noted)
    return runs


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_ends_at_an_image_is_asked_again_for_no_other(folder, runs, scheme, drain):
    stopping = []
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(serving(folder))
        ports = first.rest_port, first.grpc_port

        def restart():
            first.stop(drain=drain)
            stack.enter_context(serving(folder, *ports))

        def stop_at_3(number):
            if number == 3 and not stopping:
                stopping.append(threading.Thread(target=restart))
                stopping[0].start()
                if not drain:  # the response to this image is lost
                    eventually(lambda: not first.is_running)

        runs.before = stop_at_3
        with FeaturesClient(url_of(scheme, port_of(first, scheme)), PATIENT) as client:
            answer = client.predict("features", images_of(6, side=2))
        stopping[0].join()
    np.testing.assert_array_equal(answer["pool1"], images_of(6, side=2))
    assert runs == ([0, 1, 2, 3, 4, 5] if drain else [0, 1, 2, 3, 3, 4, 5])


def test_a_call_that_grpc_cancels_is_made_again():
    calls = []

    def predict(request, context):
        calls.append(request.inputs["images"])
        if len(calls) < 3:
            context.cancel()  # what gRPC does to calls that a server has not begun as it ends
        return predict_pb2.PredictResponse(outputs={"pool1": calls[-1]})

    def metadata(_request, _context):
        definitions = get_model_metadata_pb2.SignatureDefMap()
        definition = definitions.signature_def["features"]
        definition.inputs["images"].dtype = tf.uint8.as_datatype_enum
        definition.outputs["pool1"].dtype = tf.uint8.as_datatype_enum
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(definitions)
        return response

    def handler(function, request):
        return grpc.unary_unary_rpc_method_handler(
            function, request.FromString, lambda response: response.SerializeToString()
        )

    methods = {
        "Predict": handler(predict, predict_pb2.PredictRequest),
        "GetModelMetadata": handler(metadata, get_model_metadata_pb2.GetModelMetadataRequest),
    }
    server = grpc.server(ThreadPoolExecutor(1))
    service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", methods)
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    images = images_of(1, side=2)
    with FeaturesClient(url_of("grpc", port), ClientConfig(max_attempts=2, first_wait=0.01)) as few:
        with pytest.raises(ServerError) as caught:
            few.predict("features", images)
        assert (caught.value.code, len(calls)) == ("CANCELLED", 2)
        calls.pop()
        np.testing.assert_array_equal(few.predict("features", images)["pool1"], images)
    assert len(calls) == 3
    server.stop(None).wait()


def test_requests_go_to_all_replicas_and_to_those_that_are_left(folder, runs, monkeypatch):
    connect = grpc.insecure_channel
    with serving(folder) as first, serving(folder) as second:
        ports = [first.grpc_port, second.grpc_port]
        # A name of two addresses; a name server gives addresses of one port only.
        both = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        monkeypatch.setattr(grpc, "insecure_channel", lambda _, options: connect(both, options))
        with FeaturesClient("grpc://replicas/v1/models/echo", PATIENT) as client:
            images = images_of(1, side=2)

            def each_has_answered():
                client.predict("features", images)
                return len(runs.models) == 2

            eventually(each_has_answered)
            first.stop()
            np.testing.assert_array_equal(client.predict("features", images)["pool1"], images)


class Proxy:
    """Passes bytes on, and closes a connection in the middle of a response when told to."""

    def __init__(self, port):
        self._port, self._sockets = port, []
        self.bytes_left = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [ours, theirs]
                for pair, is_response in (((ours, theirs), False), ((theirs, ours), True)):
                    thread = threading.Thread(target=self._pass, args=(*pair, is_response))
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, source, target, is_response):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                if is_response and self.bytes_left is not None:
                    self.bytes_left -= len(data)
                    if self.bytes_left < 0:
                        self.bytes_left = None
                        break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for end in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join()


# Over gRPC, an image has more bytes than gRPC keeps for retries of its own, 256 KiB.
@pytest.mark.parametrize(("scheme", "side"), [("grpc", 300), ("http", 80)])
@pytest.mark.parametrize("bytes_left", [0, 50_000])
def test_a_connection_lost_in_a_batch_costs_one_image(folder, runs, scheme, side, bytes_left):
    """Before a response, and in the middle of one of more than 76,800 bytes."""
    images = images_of(5, side)
    with serving(folder) as server, Proxy(port_of(server, scheme)) as proxy:

        def cut_at_2(number):
            if runs.count(2) == 1 and number == 2:
                proxy.bytes_left = bytes_left

        runs.before = cut_at_2
        with FeaturesClient(url_of(scheme, proxy.port), PATIENT) as client:
            answer = client.predict("features", images)
    assert proxy.bytes_left is None
    np.testing.assert_array_equal(answer["pool1"], images)
    assert runs == [0, 1, 2, 2, 3, 4]


@SCHEMES
def test_batches_are_sent_in_requests_of_a_number_of_images(folder, runs, scheme):
    with serving(folder) as server:
        url = url_of(scheme, port_of(server, scheme))
        for number, first_of_each in ((2, [0, 2, 4]), (5, [0]), (None, [0])):
            runs.clear()
            with FeaturesClient(url, ClientConfig(images_per_request=number)) as client:
                images = images_of(5, side=2)
                np.testing.assert_array_equal(client.predict("features", images)["pool1"], images)
                assert runs == first_of_each
                if number == 2:
                    with pytest.raises(rwgen.InvalidInputError, match="images_per_request=None"):
                        client.predict("count", images)
                else:
                    assert client.predict("count", images)["count"].tolist() == [5]


@SCHEMES
def test_an_asynchronous_client_does_the_same(folder, scheme):
    async def ask(url):
        async with AsyncFeaturesClient(url, ClientConfig(images_per_request=2)) as client:
            assert await client.outputs_of("features") == ("pool1",)
            assert (await client.input_of("features"))[1] == np.uint8
            images = images_of(40, side=2)
            calls = [client.predict("features", images[: n + 1]) for n in range(40)]
            for n, answer in enumerate(await asyncio.gather(*calls)):
                np.testing.assert_array_equal(answer["pool1"], images[: n + 1])
            with pytest.raises(rwgen.InvalidInputError, match="a signature of"):
                await client.predict("classify", images)
        await client.close()
        with pytest.raises(rwgen.InvalidInputError, match="one that was closed"):
            await client.predict("features", images)
        with pytest.raises(ServerError) as caught:
            async with AsyncFeaturesClient(url.replace("echo", "none")) as other:
                await other.predict("features", images)
        assert caught.value.code == "NOT_FOUND"

    with serving(folder) as server:
        asyncio.run(ask(url_of(scheme, port_of(server, scheme))))
    with pytest.raises(rwgen.InvalidInputError, match="expected a server's URL"):
        AsyncFeaturesClient("localhost")


@SCHEMES
def test_an_event_loop_goes_on_while_a_server_computes_and_calls_can_be_cancelled(
    folder, runs, scheme
):
    computing, released = threading.Event(), threading.Event()

    def hold(number):
        if number == 0:
            computing.set()
            assert released.wait(GUARD)

    async def ask(url):
        async with AsyncFeaturesClient(url) as client:
            await client.input_of("features")
            waiting = asyncio.create_task(client.predict("features", images_of(1, side=2)))
            while not computing.is_set():  # the loop runs on
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            released.set()
            images = images_of(2, side=2)[1:]
            return await client.predict("features", images)

    runs.before = hold
    with serving(folder) as server:
        answer = asyncio.run(ask(url_of(scheme, port_of(server, scheme))))
    assert answer["pool1"].tolist() == images_of(2, side=2)[1:].tolist()
    assert runs == [0, 1]


@SCHEMES
def test_a_client_that_is_closed_makes_no_further_attempt(scheme):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = ClientConfig(first_wait=GUARD / 2, timeout=2 * GUARD)
    client = FeaturesClient(url_of(scheme, port), config)
    errors = []

    def ask():
        try:
            client.input_of("features")
        except rwgen.InvalidInputError as error:
            errors.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    client.close()
    thread.join()
    assert "one that was closed" in errors[0]
