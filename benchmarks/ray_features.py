"""`rwgen features --ray local` over many generated images, with a worker killed in the middle.

`killed`: once half of the shards are there, a worker of Ray is killed. Afterwards the shards are
read: how many images are missing or there twice, and how far the features of some images are from
those that one process computes. `resumed`: the same command after two shards were removed.
`one_core`: images of 224x224 pixels per second of CPU time in one process with one thread, from
JPEG files to pooled features, for several layers, and bytes per image in the shards.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import write_record

from rwgen.client.extraction import Extraction, SourceConfig
from rwgen.client.ray_shards import open_on_one_core
from rwgen.client.shards import Shards
from rwgen.export.config import ExportConfig

SIDES = (32, 64)
SIZE = 32
SHARD = 256
COMPARED = 50
SMALL = ("--network", "ranvgg19", "--layer", "conv1_1", "--signature", "pooled",
         "--size", str(SIZE), "--batch-size", "64")  # fmt: skip
LAYERS = (("pool3",), ("pool4",), ("pool5",), ("pool3", "pool4", "pool5"))
PHOTOS = sorted((Path(__file__).parent.parent / "examples").glob("*.jpg"))
MAPS = "pool3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    results: dict[str, Any] = {"one_core": []}
    for layers in LAYERS:
        results["one_core"].append(_apart(one_core, layers, options.rounds))
        print(results["one_core"][-1], flush=True)
    results["maps"] = _apart(bytes_of_maps)
    with tempfile.TemporaryDirectory() as folder:
        images, shards = Path(folder) / "images", Path(folder) / "shards"
        images.mkdir()
        generate(images, options.images)
        results["killed"] = run(images, shards, kill=True)
        results["killed"] |= check(images, shards)
        print(results["killed"], flush=True)
        for path in sorted(shards.glob("*.parquet"))[:2]:
            path.unlink()
        results["resumed"] = run(images, shards, kill=False) | check(images, shards)
        print(results["resumed"], flush=True)
    settings = {"images": options.images, "sides": SIDES, "size": SIZE, "shard": SHARD}
    write_record(options.output, {"settings": settings, "results": results})


def generate(folder: Path, count: int) -> None:
    """Write images of noise, of various sizes, in folders of a thousand."""
    generator = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"{number // 1000:03}"
        place.mkdir(exist_ok=True)
        height, width = generator.integers(*SIDES, 2, endpoint=True)
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number:06}.png", compress_level=1)


def run(images: Path, shards: Path, kill: bool) -> dict[str, Any]:
    """Run the command; if asked to, kill one of its workers when half of the shards are there."""
    command = [sys.executable, "-m", "rwgen.cli.main", "features", str(images), "-o", str(shards),
               *SMALL, "--ray", "local", "--shard-size", str(SHARD), "--quiet",
               "--json"]  # fmt: skip
    expected = -(-sum(1 for _ in images.rglob("*.png")) // SHARD)
    start = time.monotonic()
    killed: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while kill and not killed and process.poll() is None:
            time.sleep(0.1)
            there = sum(1 for _ in shards.glob("*.parquet"))
            workers = _workers(process.pid) if there >= expected // 2 else []
            if workers:
                os.kill(workers[0], signal.SIGKILL)
                killed = {"killed_at_shard": there, "workers": len(workers)}
        out, _ = process.communicate()
    seconds = time.monotonic() - start
    values = {"code": process.returncode, "seconds": seconds, **killed, **json.loads(out)}
    del values["output"]
    return values


def check(images: Path, shards: Path) -> dict[str, Any]:
    """Count what is lost or twice, and compare some features with those of one process."""
    import pyarrow.parquet as pq

    files = {str(path) for path in images.rglob("*.png")}
    tables = [pq.read_table(path) for path in sorted(shards.glob("*.parquet"))]
    counts = Counter(name for table in tables for name in table["file"].to_pylist())
    chosen = set(random.Random(0).sample(sorted(files), COMPARED))
    found = {
        name: vector
        for table in tables
        for name, vector in zip(
            table["file"].to_pylist(),
            table["conv1_1"].combine_chunks().to_numpy_ndarray(),
            strict=True,
        )
        if name in chosen
    }
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone.npz"
        command = [sys.executable, "-m", "rwgen.cli.main", "features", *sorted(chosen), "-o",
                   str(alone), *SMALL, "--quiet"]  # fmt: skip
        subprocess.run(command, check=True)
        expected = dict(np.load(alone))
    differences = [
        np.abs(found[name] - vector).max() / np.abs(vector).max()
        for name, vector in zip(expected["files"], expected["conv1_1"], strict=True)
    ]
    return {
        "lost": len(files - counts.keys()),
        "twice": sum(1 for count in counts.values() if count > 1),
        "foreign": len(counts.keys() - files),
        "largest_relative_difference": float(max(differences)),
    }


def one_core(layers: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """Images per second of CPU time of one thread, and bytes per image of pooled features."""
    config = SourceConfig(network="ranvgg19", export=ExportConfig(layers=layers))
    files = [PHOTOS[number % len(PHOTOS)] for number in range(24)]
    rates, walls = [], []
    with tempfile.TemporaryDirectory() as folder, open_on_one_core(config) as source:
        for number in range(rounds + 1):
            cpu, wall = time.process_time(), time.monotonic()
            found = Extraction(source, "pooled", np.dtype(np.uint8), (224, 224))
            for start in range(0, len(files), 8):
                found.add(files[start : start + 8])
            shards = Shards(Path(folder), "parquet")
            shards.write([f"/images/{number:012}.jpg" for number in range(24)], found.outputs())
            if number:  # the first traces the graph
                rates.append(len(files) / (time.process_time() - cpu))
                walls.append(len(files) / (time.monotonic() - wall))
        values = sum(value[0].nbytes for value in found.outputs().values())
    return {
        "layers": layers,
        "images_per_cpu_second": statistics.median(rates),
        "all": rates,
        "images_per_second": walls,
        "bytes_of_values": values,
        "bytes_in_shards": _bytes_per_image(found.outputs()),
    }


def bytes_of_maps() -> dict[str, Any]:
    """Bytes per image of features that are not pooled."""
    config = SourceConfig(network="ranvgg19", export=ExportConfig(layers=(MAPS,)))
    with open_on_one_core(config) as source:
        found = Extraction(source, "features", np.dtype(np.uint8), (224, 224))
        found.add(PHOTOS[:1])
        return {"layer": MAPS, "bytes_of_values": found.outputs()[MAPS][0].nbytes}


def _bytes_per_image(outputs: dict[str, Any]) -> float:
    """Bytes per image in a shard of as many images as the command writes to one."""
    count = 512
    names = [f"/images/{number:012}.jpg" for number in range(count)]
    generator = np.random.default_rng(0)
    values = {
        layer: generator.normal(size=(count, *value.shape[1:])).astype(np.float32)
        for layer, value in outputs.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        Shards(Path(folder), "parquet").write(names, values)
        (path,) = Path(folder).iterdir()
        return path.stat().st_size / count


def _workers(ancestor: int) -> list[int]:
    """Processes of Ray that compute shards, among the descendants of a process."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            names[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])

    def descends(process: int) -> bool:
        while process in parents and process != ancestor:
            process = parents[process]
        return process == ancestor

    return [
        number
        for number, name in names.items()
        if name.startswith("ray::") and "_Worker" in name and descends(number)
    ]


def _apart(function: Any, *arguments: Any) -> Any:
    """Call a function in a new process, since TensorFlow's threads are set once."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
