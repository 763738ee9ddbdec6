"""Thousands of requests while versions, configurations and processes change: none is lost."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest
from serving_clients import GUARD, Stubs, eventually
from serving_models import save_model
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest

from rwgen.serving import ModelConfig
from rwgen.serving.model_config import model_config_text, models_of

REQUESTS = 3000
CLIENTS = 4
OFFSETS = {1: 1000, 2: 2000, 3: 3000}
"""What each version adds to half of its input, which is less than 1000."""


class Process:
    """`rwgen serve` with the arguments of TensorFlow Serving."""

    def __init__(self, config, ports):
        self.ports = ports
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "rwgen.cli.main", "serve", "--server=embedded"),
                *(f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}"),
                *(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1"),
                *("--file_system_poll_wait_seconds=1", "--quiet"),
            ]
        )

    def states(self, name):
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, content = self.rest("GET", f"/v1/models/{name}")
            if status == 200:
                entries = content["model_version_status"]
                return {int(entry["version"]): entry["state"] for entry in entries}
        return {}

    def rest(self, method, path, body=None):
        address = ("127.0.0.1", self.ports["rest"])
        with contextlib.closing(http.client.HTTPConnection(*address, timeout=GUARD)) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def end(self):
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(GUARD)

    def kill(self):
        self._process.kill()
        self._process.wait()


class Client:
    """Sends requests one after the other, until it is told to stop."""

    def __init__(self, process, number):
        self.answered, self.retried, self.problems = 0, 0, []
        self._process, self._number = process, number
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        self._asked.set()
        self._thread.join()

    def _run(self):
        with grpc.insecure_channel(f"127.0.0.1:{self._process.ports['grpc']}") as channel:
            ask = self._by_rest if self._number % 2 else Stubs(channel).y
            value = float(self._number)
            while not self._asked.is_set() and not self.problems:
                try:
                    (y,) = self._until_answered(ask, value)
                except Exception as error:
                    self.problems.append(error)
                    return
                if y - 0.5 * value not in OFFSETS.values():
                    self.problems.append((value, y))
                self.answered += 1
                value = (value + CLIENTS) % 1000

    def _until_answered(self, ask, value):
        # A server that stops asks clients to come back, or is not there.
        for _ in range(1000):
            try:
                return ask([value])
            except (OSError, http.client.HTTPException):
                pass
            except grpc.RpcError as error:
                if error.code().name not in ("UNAVAILABLE", "CANCELLED"):
                    raise
            self.retried += 1
            time.sleep(0.05)
        raise AssertionError("no server answers")

    def _by_rest(self, values):
        body = json.dumps({"instances": values})
        status, content = self._process.rest("POST", "/v1/models/hp2:predict", body)
        if status == 503:
            raise ConnectionError
        assert status == 200, content
        return content["predictions"]


def free_ports():
    with (
        socket.create_server(("127.0.0.1", 0)) as rest,
        socket.create_server(("127.0.0.1", 0)) as by_grpc,
    ):
        return {"rest": rest.getsockname()[1], "grpc": by_grpc.getsockname()[1]}


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    base, config, ports = tmp_path / "hp2", tmp_path / "models.config", free_ports()
    base.mkdir()
    save_model(base, 1, OFFSETS[1])
    first = ModelConfig(name="hp2", base_path=base)
    second = ModelConfig(name="second", base_path=base, latest=None)
    config.write_text(model_config_text([first]))
    process = Process(config, ports)
    clients = []
    try:
        eventually(lambda: process.states("hp2") == {1: "AVAILABLE"})
        clients = [Client(process, number) for number in range(CLIENTS)]

        def wait_for(share):
            def reached():
                done = sum(client.answered for client in clients)
                return done >= share * REQUESTS or any(client.problems for client in clients)

            eventually(reached)

        wait_for(0.2)
        save_model(base, 2, OFFSETS[2])  # a new version
        eventually(lambda: process.states("hp2") == {2: "AVAILABLE", 1: "END"})
        wait_for(0.4)
        config.write_text(model_config_text([first, second]))  # another configuration
        eventually(lambda: set(process.states("second").values()) == {"AVAILABLE"})
        wait_for(0.6)
        request = ReloadConfigRequest()  # and one by RPC: the same as the file asks for
        entry = request.config.model_config_list.config.add(name="hp2", base_path=str(base))
        entry.model_platform, entry.version_labels["stable"] = "tensorflow", 2
        entry.model_version_policy.all.SetInParent()
        config.write_text(model_config_text(models_of(request.config)))
        with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            Stubs(channel).model.HandleReloadConfigRequest(request, timeout=GUARD)
            assert Stubs(channel).y([2.0], label="stable") == [1.0 + OFFSETS[2]]
        eventually(lambda: process.states("hp2").get(1) == "AVAILABLE")
        wait_for(0.8)
        assert process.end() == 0  # and another process
        process = Process(config, ports)
        save_model(base, 3, OFFSETS[3])
        eventually(lambda: process.states("hp2").get(3) == "AVAILABLE")
        wait_for(1.0)
    finally:
        for client in clients:
            client.stop()
        process.kill()
    assert [client.problems for client in clients] == [[]] * CLIENTS
    assert sum(client.answered for client in clients) >= REQUESTS
    assert any(client.retried for client in clients)  # while no server was there
