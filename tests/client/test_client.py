"""The client against the embedded server: three ways to the same features, and all failures."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tensorflow as tf

import rwgen
from rwgen.client.client import FeaturesClient
from rwgen.client.config import ClientConfig, ServedModel, parse_url
from rwgen.client.local import NetworkSource, SavedModelSource
from rwgen.client.rest_transport import RestTransport
from rwgen.errors import ServerError
from rwgen.export.config import ExportConfig
from rwgen.export.saved_model import export_network
from rwgen.serving import ModelConfig, Server, ServerConfig

LAYERS = ("conv1_1", "pool1")


SIZE = (12, 16)
CONFIG = ExportConfig(layers=LAYERS, size=SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("client") / "small"
    export_network("ranvgg19", path, CONFIG)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return SavedModelSource(str(folder))


@pytest.fixture(scope="module")
def network():
    return NetworkSource("ranvgg19", CONFIG)


@pytest.fixture(scope="module")
def server(folder):
    models = [ModelConfig(name="small net", base_path=folder, version_labels={"stable": 1})]
    with Server(ServerConfig(rest_port=0, grpc_port=0), models) as running:
        yield running


def url(server, scheme, path="small%20net"):
    port = server.grpc_port if scheme == "grpc" else server.rest_port
    return f"{scheme}://127.0.0.1:{port}/v1/models/{path}"


def batch(count, size=SIZE):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)


def encoded(count):
    images = np.empty(count, object)
    images[:] = [tf.io.encode_png(image).numpy() for image in batch(count, (30, 20))]
    return images


@pytest.mark.parametrize(
    "path", ["small%20net", "small%20net/versions/1", "small%20net/labels/stable"]
)
@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_a_model_and_a_network_give_the_same(server, model, network, scheme, path):
    requests = {
        "features": batch(2),
        "features_float": batch(2).astype(np.float32) + 0.25,
        "gram": batch(1),
        "pooled": batch(3),
        "serving_default": batch(1),
        "features_from_bytes": encoded(1),
    }
    if path != "small%20net":
        requests = {"pooled": requests["pooled"]}
    with FeaturesClient(url(server, scheme, path)) as client:
        for signature, images in requests.items():
            answers = [way.predict(signature, images) for way in (client, model, network)]
            assert len({way.input_of(signature) for way in (client, model, network)}) == 1
            for way in (client, model, network):
                assert sorted(way.outputs_of(signature)) == sorted(LAYERS)
            for answer in answers:
                assert sorted(answer) == sorted(LAYERS)
                for name, value in answer.items():
                    assert value.dtype == np.float32
                    np.testing.assert_allclose(
                        value, answers[2][name], rtol=1e-4, atol=1e-5, err_msg=signature
                    )


def test_messages_may_be_larger_than_grpcs_default(server):
    images = batch(100)
    with FeaturesClient(url(server, "grpc"), ClientConfig(images_per_request=None)) as client:
        features = client.predict("features", images)
    assert sum(value.nbytes for value in features.values()) > 4 << 20


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_what_the_server_refuses_has_its_code(server, scheme):
    for path, code in (
        ("nothing", "NOT_FOUND"),
        ("small%20net/versions/7", "NOT_FOUND"),
        ("small%20net/labels/none", "INVALID_ARGUMENT"),
    ):
        with FeaturesClient(url(server, scheme, path)) as client:
            with pytest.raises(ServerError) as caught:
                client.predict("pooled", batch(1))
            assert caught.value.code == code, caught.value
            assert "\n" not in str(caught.value)
    with FeaturesClient(url(server, scheme)) as client:
        with pytest.raises(rwgen.InvalidInputError, match=r"signature of .*pooled.*'classify'"):
            client.predict("classify", batch(1))
        with pytest.raises(rwgen.InvalidInputError, match=r"dtype uint8.*float64"):
            client.predict("pooled", batch(1).astype(float))
        with pytest.raises(rwgen.InvalidInputError, match="at least one image"):
            client.predict("pooled", batch(0))
        junk = np.empty(1, object)
        junk[0] = b"no image"
        with pytest.raises(ServerError, match="JPEG or PNG") as caught:
            client.predict("features_from_bytes", junk)
        assert caught.value.code == "INVALID_ARGUMENT"
        with pytest.raises(ServerError):
            client.predict("pooled", batch(1)[0])


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_list_of_images_is_a_batch(server, model, scheme):
    images, files = batch(2), encoded(2)
    with FeaturesClient(url(server, scheme)) as client:
        for source in (client, model):
            for signature, whole in (("pooled", images), ("features_from_bytes", files)):
                found, expected = (
                    source.predict(signature, given) for given in (list(whole), whole)
                )
                np.testing.assert_array_equal(found["pool1"], expected["pool1"])
            with pytest.raises(rwgen.InvalidInputError, match="images of one shape"):
                source.predict("pooled", [images[0], images[0][1:]])
            with pytest.raises(rwgen.InvalidInputError, match="at least one image"):
                source.predict("pooled", [])


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_closed_client_says_so(server, scheme):
    client = FeaturesClient(url(server, scheme))
    client.predict("pooled", batch(1))
    client.close()
    client.close()
    with pytest.raises(rwgen.InvalidInputError, match="one that was closed"):
        client.predict("pooled", batch(1))


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_client_serves_several_threads(server, scheme):
    with FeaturesClient(url(server, scheme)) as client, ThreadPoolExecutor(8) as pool:
        batches = [batch(count % 3 + 1) for count in range(24)]
        answers = list(pool.map(lambda images: client.predict("pooled", images), batches))
        for images, answer in zip(batches, answers, strict=True):
            alone = client.predict("pooled", images)
            np.testing.assert_allclose(answer["pool1"], alone["pool1"], rtol=1e-4)


class Flaky(BaseHTTPRequestHandler):
    """Answers with the statuses in the server's list, repeating the last one; None blocks."""

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        status = self.server.answers[0]
        if len(self.server.answers) > 1:
            self.server.answers.pop(0)
        self.server.calls.append(time.monotonic())
        if status is None:
            self.server.ended.wait(60)
            return
        body = b'{"outputs": [[1.5]]}' if status == 200 else b'{"error": "as told"}'
        if self.path.endswith("/metadata"):
            body = (
                b'{"metadata": {"signature_def": {"signature_def": {"pooled": {"inputs": {"images":'
                b' {"dtype": "DT_UINT8", "tensor_shape": {"dim": [{"size": "-1"}]}}},'
                b' "outputs": {"pool1": {}}}}}}}'
            )
            status = 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def flaky():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    server.calls, server.ended = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()
    thread.join()


def flaky_call(server, answers, **settings):
    """Return the result of a prediction, and the number of calls except that for metadata."""
    server.answers = [200, *answers]
    config = ClientConfig(first_wait=0.02, **settings)
    address = f"http://127.0.0.1:{server.server_address[1]}/v1/models/m"
    with FeaturesClient(address, config) as client:
        try:
            return client.predict("pooled", np.zeros((1,), np.uint8)), len(server.calls) - 1
        except ServerError as error:
            return error.code, len(server.calls) - 1


def test_only_an_unavailable_server_is_asked_again(flaky):
    answer, calls = flaky_call(flaky, [503, 503, 200])
    assert (answer["pool1"].tolist(), calls) == ([[1.5]], 3)
    waits = np.diff(flaky.calls[1:])
    assert waits[1] >= 0.02
    flaky.calls.clear()
    assert flaky_call(flaky, [503], max_attempts=3) == ("UNAVAILABLE", 3)
    flaky.calls.clear()
    code, calls = flaky_call(flaky, [503], max_attempts=1000, timeout=0.3)
    assert code == "UNAVAILABLE"
    assert calls < 10  # each wait is twice as long, and none goes beyond the timeout
    for status, code in (
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "UNKNOWN"),
        (504, "DEADLINE_EXCEEDED"),
    ):
        flaky.calls.clear()
        assert flaky_call(flaky, [status]) == (code, 1)


def test_a_slow_server_is_given_up(flaky):
    flaky.answers = [None]
    served = parse_url(f"http://127.0.0.1:{flaky.server_address[1]}/v1/models/m")
    transport = RestTransport(served, ClientConfig())
    with pytest.raises(ServerError) as caught:
        transport.predict("pooled", {"images": np.zeros((1,), np.uint8)}, ("pool1",), 0.2)
    transport.close()
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert len(flaky.calls) <= 1


def test_urls_of_models():
    assert parse_url("http://host/v1/models/a") == ServedModel("http", "host:80", "a")
    assert parse_url("grpcs://[::1]:5/v1/models/a%2Fb/versions/12/") == ServedModel(
        "grpcs", "[::1]:5", "a/b", version=12
    )
    assert parse_url("grpc://h/v1/models/a/labels/x%20y") == ServedModel(
        "grpc", "h:8500", "a", label="x y"
    )


@pytest.mark.parametrize(
    "text",
    ["", "host", "ftp://host/v1/models/a", "http://host", "http://host/v1/models/",
     "http://host/v1/models/a:predict", "http://host/v1/models/a/versions/x",
     "http://host:99999/v1/models/a", "http:///v1/models/a", "http://[::1/v1/models/a",
     "http://host/v1/models/a?b=c"],
)  # fmt: skip
def test_other_urls_are_refused(text):
    with pytest.raises(rwgen.InvalidInputError, match="expected a server's URL"):
        FeaturesClient(text)


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"first_wait": 0},
        {"max_attempts": 0},
        {"images_per_request": 0},
    ],
)
def test_settings_are_checked(settings):
    with pytest.raises(rwgen.InvalidInputError, match=next(iter(settings))):
        ClientConfig(**settings)


def test_a_network_with_other_blocks_has_the_same_features_served_and_here(tmp_path):
    recipe = rwgen.Recipe(blocks=((3, 3), (5, 1)), kernel_stddev=0.4)
    (tmp_path / "blocks.json").write_text(recipe.to_json(), encoding="utf-8")
    config = ExportConfig(layers=("conv1_3", "block2_pool"), signatures=("features",))
    export_network(recipe, tmp_path / "model", config)
    images = batch(2)
    expected = NetworkSource(str(tmp_path / "blocks.json"), config).predict("features", images)
    assert {name: value.shape for name, value in expected.items()} == {
        "conv1_3": (2, 12, 16, 3),
        "pool2": (2, 3, 4, 5),
    }
    models = [ModelConfig(name="small net", base_path=tmp_path / "model")]
    with (
        Server(ServerConfig(rest_port=0, grpc_port=0), models) as running,
        FeaturesClient(url(running, "grpc")) as client,
    ):
        found = client.predict("features", images)
    for source in (found, SavedModelSource(str(tmp_path / "model")).predict("features", images)):
        assert source.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(source[name], value, rtol=1e-4, atol=1e-5)
