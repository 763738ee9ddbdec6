"""The embedded server: throughput, latency, fairness, and requests during a reload and a restart.

`throughput`: images per second of `pooled` on 224x224 uint8 images, one per request, by 8 clients
over gRPC in a separate process, and of a plain loop over the loaded SavedModel in one process; the
two alternate, and their ratio is taken within a round. `latency`: median of the milliseconds that
gRPC and REST add to a cheap signature, for sequential calls. `requests` (also alone
with `--only requests`): every response to many requests is compared with the expected one while a
new version is exported, while another configuration is sent, and while the server is stopped by
SIGTERM and restarted; with the server's memory. `fairness` (only with `--only fairness`): requests
per second of a cheap signature and their latency, for 32 clients of REST and of gRPC at the same
time, and for 32 and 64 clients of each alone; the clients of an interface share a process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from record import write_record

from rwgen.client.client import FeaturesClient
from rwgen.client.config import ClientConfig
from rwgen.export.config import ExportConfig

CONCURRENCY = 8
MANY = 32
DEEP = ExportConfig(signatures=("pooled",))
SHALLOW = ExportConfig(layers=("conv1_1",), signatures=("pooled",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each measurement")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--only", choices=["fairness", "requests"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    if options.only == "requests":
        with tempfile.TemporaryDirectory() as folder:
            shallow = Path(folder) / "shallow"
            _apart(_export, shallow, SHALLOW)
            results = through_restarts(shallow, options.requests)
        print(results, flush=True)
        write_record(options.output, {"settings": {"clients": CONCURRENCY}, "results": results})
        return
    if options.only:
        results = [fairness(options.seconds) for _ in range(options.rounds)]
        settings = {"rounds": options.rounds, "seconds": options.seconds, "clients": MANY}
        write_record(options.output, {"settings": settings, "results": results})
        return
    with tempfile.TemporaryDirectory() as folder:
        deep, shallow = Path(folder) / "deep", Path(folder) / "shallow"
        _apart(_export, deep, DEEP)
        _apart(_export, shallow, SHALLOW)
        results: dict[str, Any] = {"throughput": [], "latency": []}
        for _ in range(options.rounds):
            bare = _apart(bare_rate, deep, options.seconds)
            with running(deep) as server:
                served = _apart(served_rate, server.url("grpc"), options.seconds)
            results["throughput"].append({"bare": bare, "served": served, "ratio": served / bare})
            print(results["throughput"][-1], flush=True)
            row = {"bare": _apart(bare_latency, shallow)}
            with running(shallow) as server:
                for scheme in ("grpc", "http"):
                    row[scheme] = _apart(served_latency, server.url(scheme)) - row["bare"]
            results["latency"].append(row)
            print(row, flush=True)
        results["requests"] = through_restarts(shallow, options.requests)
        print(results["requests"], flush=True)
        write_record(options.output, {"settings": {"rounds": options.rounds}, "results": results})


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a separate process, which also ends TensorFlow's threads."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _export(folder: Path, config: ExportConfig) -> None:
    from rwgen.export.saved_model import export_network

    export_network("ranvgg19", folder, config)


def _image(number: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8)


def bare_rate(folder: Path, seconds: float) -> float:
    """Return images per second of a loop, one image at a time."""
    from rwgen.client.local import SavedModelSource

    source = SavedModelSource(str(folder))
    images = [_image(number, 224) for number in range(4)]
    for image in images:
        source.predict("pooled", image)
    began, count = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        source.predict("pooled", images[count % len(images)])
        count += 1
    return count / (time.perf_counter() - began)


def served_rate(url: str, seconds: float) -> float:
    """Return images per second of concurrent clients."""
    images = [_image(number, 224) for number in range(4)]
    with FeaturesClient(url) as client, ThreadPoolExecutor(CONCURRENCY) as pool:
        for image in images:
            client.predict("pooled", image)
        began = time.perf_counter()

        def work(number: int) -> int:
            count = 0
            while time.perf_counter() < began + seconds:
                client.predict("pooled", images[(number + count) % len(images)])
                count += 1
            return count

        counts = list(pool.map(work, range(CONCURRENCY)))
        return sum(counts) / (time.perf_counter() - began)


def _median_milliseconds(call: Callable[[np.ndarray], Any]) -> float:
    image = _image(0, 32)
    times = []
    for number in range(600):
        began = time.perf_counter()
        call(image)
        if number >= 100:
            times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def bare_latency(folder: Path) -> float:
    """Return the median duration of a call of the loaded model in milliseconds."""
    from rwgen.client.local import SavedModelSource

    source = SavedModelSource(str(folder))
    return _median_milliseconds(lambda image: source.predict("pooled", image))


def served_latency(url: str) -> float:
    """Return the median duration of a call of the server in milliseconds."""
    with FeaturesClient(url) as client:
        return _median_milliseconds(lambda image: client.predict("pooled", image))


class ServerProcess:
    """`rwgen serve` in a separate process, on free ports."""

    def __init__(self, folder: Path, ports: dict[str, int] | None = None) -> None:
        self.folder = folder
        self.ports = ports or {"grpc": _free_port(), "http": _free_port()}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "rwgen.cli.main", "serve", folder, "--server", "embedded"),
                *("--grpc-port", str(self.ports["grpc"]), "--rest-port", str(self.ports["http"])),
                "--quiet",
            ]
        )

    def url(self, scheme: str) -> str:
        """Return the URL of the model."""
        return f"{scheme}://127.0.0.1:{self.ports[scheme]}/v1/models/{self.folder.name}"

    def wait_until_ready(self) -> None:
        """Poll until the server answers."""
        config = ClientConfig(max_attempts=1, timeout=2)
        for _ in range(300):
            with FeaturesClient(self.url("grpc"), config) as client, contextlib.suppress(Exception):
                client.input_of("pooled")
                return
            time.sleep(0.2)
        raise SystemExit("The server does not start.")

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(folder)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def through_restarts(folder: Path, count: int) -> dict[str, Any]:
    """Send requests during changes and a restart of the server, and compare all responses."""
    images = [_image(number, 32) for number in range(16)]
    server = ServerProcess(folder)
    server.wait_until_ready()
    # Another server takes long to start where the machine is busy.
    config = ClientConfig(first_wait=4.0, timeout=120)
    done, wrong, memory = [0], [0], {}
    lock = threading.Lock()
    exits = []
    with FeaturesClient(server.url("grpc"), config) as client:
        expected = [client.predict("pooled", image)["conv1_1"] for image in images]

        def ask(number: int) -> None:
            answer = client.predict("pooled", images[number % len(images)])["conv1_1"]
            same = np.allclose(answer, expected[number % len(images)], rtol=1e-4, atol=1e-6)
            with lock:
                done[0] += 1
                wrong[0] += not same

        with ThreadPoolExecutor(CONCURRENCY) as pool:
            futures = [pool.submit(ask, number) for number in range(count)]
            steps = {count // 4: "reload", count // 2: "configure", 3 * count // 4: "restart"}
            while done[0] < count and not any(f.done() and f.exception() for f in futures):
                for at in [at for at in steps if done[0] >= at]:
                    step = steps.pop(at)
                    if step == "reload":
                        _new_version(folder)
                    elif step == "configure":
                        _configure(server)
                    else:
                        exits.append(server.end())
                        server = ServerProcess(folder, server.ports)
                thousand = done[0] // 1000
                if thousand not in memory:
                    memory[thousand] = server.memory()
                time.sleep(0.02)
            errors = [str(error) for future in futures if (error := future.exception()) is not None]
    exits.append(server.end())
    return {
        "requests": count,
        "answered": done[0],
        "failed": len(errors),
        "errors": sorted(set(errors)),
        "wrong": wrong[0],
        "exit_codes": exits,
        "memory_by_thousand": memory,
    }


def fairness(seconds: float) -> dict[str, Any]:
    """Return rates and latencies of REST and gRPC alone and together, and ratios of the rates.

    The ratios are those of the rate together to that of as many clients alone (`of_alone`), and to
    half the rate of twice as many alone (`of_share`): what each gets of a server that all share.
    """
    loads = [{"http": MANY}, {"grpc": MANY}, {"http": 2 * MANY}, {"grpc": 2 * MANY}]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "cheap"
        _apart(_export, model, SHALLOW)
        with running(model) as server:
            *alone, both = (
                _under_load(server, load, seconds)
                for load in (*loads, {"http": MANY, "grpc": MANY})
            )
    row: dict[str, Any] = {"both": both}
    for position, scheme in enumerate(("http", "grpc")):
        few, many = alone[position][scheme], alone[position + 2][scheme]
        row[scheme] = {
            "alone": few,
            "twice_as_many_alone": many,
            "of_alone": both[scheme]["rate"] / few["rate"],
            "of_share": both[scheme]["rate"] / (many["rate"] / 2),
        }
    print(row, flush=True)
    return row


def _under_load(
    server: ServerProcess, load: dict[str, int], seconds: float
) -> dict[str, dict[str, float]]:
    """Return rate (1/s) and latencies (ms) for a number of clients by scheme, all at a time."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(len(load)), context.Queue()
    processes = [
        context.Process(target=_clients, args=(scheme, server.url(scheme), *task))
        for scheme, count in load.items()
        for task in [(count, seconds, start, results)]
    ]
    for process in processes:
        process.start()
    found = dict(results.get() for _ in processes)
    for process in processes:
        process.join()
    return found


def _clients(scheme: str, url: str, count: int, seconds: float, start: Any, results: Any) -> None:
    """Send requests on concurrent connections, each after the response to its last one."""
    send = {"http": _send_http, "grpc": _send_grpc}[scheme]
    times = asyncio.run(send(url, count, seconds, start))
    times.sort()
    latency = {f"p{part}": 1000 * times[len(times) * part // 100] for part in (50, 99)}
    results.put((scheme, {"rate": len(times) / seconds, **latency}))


async def _repeat(call: Callable[[], Any], end: float, times: list[float]) -> None:
    while (began := time.perf_counter()) < end:
        await call()
        times.append(time.perf_counter() - began)


async def _send_http(url: str, count: int, seconds: float, start: Any) -> list[float]:
    address, _, path = url.removeprefix("http://").partition("/")
    host, _, port = address.partition(":")
    body = json.dumps({"signature_name": "pooled", "instances": _image(0, 4).tolist()}).encode()
    head = f"POST /{path}:predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    times: list[float] = []

    async def client(end: float) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))

        async def call() -> None:
            writer.write(head.encode() + body)
            received = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not received.startswith(b"http/1.1 200"):
                raise SystemExit(received.decode())
            length = received.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))

        await _repeat(call, end, times)
        writer.close()

    start.wait()
    end = time.perf_counter() + seconds
    await asyncio.gather(*(client(end) for _ in range(count)))
    return times


async def _send_grpc(url: str, count: int, seconds: float, start: Any) -> list[float]:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    address, _, path = url.removeprefix("grpc://").partition("/")
    request = PredictRequest()
    request.model_spec.name = path.rpartition("/")[2]
    request.model_spec.signature_name = "pooled"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(_image(0, 4)))
    message = request.SerializeToString()
    times: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        await predict(message)
        start.wait()
        end = time.perf_counter() + seconds
        await asyncio.gather(*(_repeat(lambda: predict(message), end, times) for _ in range(count)))
    return times


def _configure(server: ServerProcess) -> None:
    """Have both versions of the model served, with a label, and another model besides."""
    import grpc
    from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
    from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

    request = ReloadConfigRequest()
    for name in (server.folder.name, "second"):
        entry = request.config.model_config_list.config.add(
            name=name, base_path=str(server.folder.resolve()), model_platform="tensorflow"
        )
        entry.model_version_policy.all.SetInParent()
    request.config.model_config_list.config[0].version_labels["new"] = 2
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=60)


def _new_version(folder: Path) -> None:
    """Add a version with the same weights, which must return the same features."""
    temporary = folder / ".new"
    shutil.copytree(folder / "1", temporary)
    temporary.rename(folder / "2")


if __name__ == "__main__":
    main()
