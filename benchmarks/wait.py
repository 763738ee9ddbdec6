"""From command to picture: whole processes of rwgen and of PyTorch, in turns.

Each round runs, one after the other: the imports that every run of rwgen needs; `rwgen style` with
its defaults and a profile; and `benchmarks/torch_style.py`, the same objective in PyTorch, with
the trained network's widths and with half of them. PyTorch's seconds are those of its first picture
that a trained judge (`judge.py`) finds as good as rwgen's: a style at most 1.05 times as far and a
content at least 0.95 times as like. Ratios are taken within a round. Peak memory is that of the
process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import write_record

STYLE_SLACK, CONTENT_SLACK = 1.05, 0.95
IMPORTS = "import tensorflow, keras, tensorflow_probability"
PEERS = {
    "PyTorch, all widths": ["--width", "1"],
    "PyTorch, half of the widths": ["--width", "0.5"],
    "PyTorch, half of the widths, channels last": ["--width", "0.5", "--channels-last"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--peer-iterations", type=int, default=90)
    parser.add_argument("--folder", type=Path, required=True, help="where pictures are kept")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    rounds = []
    for number in range(options.rounds):
        rounds.append(_round(options, options.folder / str(number)))
    from judge import Judge  # after the timings

    judge = Judge()
    for row in rounds:
        _judge(judge, options, row)
        print(json.dumps(row, indent=1), flush=True)
    names = [name for name in rounds[0] if name != "rwgen"]
    ratios = {
        f"rwgen to {name}": _spread(
            [row["rwgen"]["seconds"] / row[name]["seconds"] for row in rounds]
        )
        for name in names
        if all(row[name].get("seconds") for row in rounds)
    }
    first = [row["rwgen"]["first_iteration_seconds"] / row["imports"]["seconds"] for row in rounds]
    ratios["first iteration at the finest size to imports"] = _spread(first)
    first = [row["rwgen"]["first_coarse_seconds"] / row["imports"]["seconds"] for row in rounds]
    ratios["first iteration at the coarsest size to imports"] = _spread(first)
    values = {"size": options.size, "rounds": rounds, "ratios": ratios}
    print(json.dumps(ratios, indent=1))
    write_record(options.output, values)


def _round(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    images = [str(options.content), str(options.style)]
    size = ["--size", str(options.size)]
    trace = folder / "trace.json"
    own = [
        "-m",
        "rwgen.cli.main",
        "style",
        *images,
        *size,
        "-q",
        "--force",
        "--profile",
        str(trace),
    ]
    found = {
        "imports": _timed(["-c", IMPORTS]),
        "rwgen": _timed([*own, "-o", str(folder / "rwgen.png")]),
    }
    found["rwgen"]["file"] = str(folder / "rwgen.png")
    events = json.loads(trace.read_text())["traceEvents"]
    starts = [event["ts"] for event in events if event["name"].startswith("first iteration")]
    last = max(event["ts"] + event["dur"] for event in events) / 1e6
    # The profile begins with the command; Python's own start comes before it.
    before = found["rwgen"]["seconds"] - last
    found["rwgen"]["first_coarse_seconds"] = before + starts[0] / 1e6
    found["rwgen"]["first_iteration_seconds"] = before + starts[-1] / 1e6
    found["rwgen"]["phases"] = {
        event["name"]: round(event["dur"] / 1e6, 2)
        for event in events
        if not event["name"].startswith("iterations")
    }
    program = str(Path(__file__).with_name("torch_style.py"))
    for name in options.peers:
        target = folder / name
        made = ["--iterations", str(options.peer_iterations), "--every", "10", "-o", str(target)]
        found[name] = _timed([program, *images, *size, *PEERS[name], *made])
        found[name]["all_seconds"] = found[name].pop("seconds")
        found[name]["folder"] = str(target)
    return found


def _timed(arguments: list[str]) -> dict[str, Any]:
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return {"seconds": time.perf_counter() - began, "peak_mib": usage.ru_maxrss // 1024}


def _judge(judge: Any, options: argparse.Namespace, row: dict[str, dict[str, Any]]) -> None:
    """Add how good pictures are, and when PyTorch's first was as good as rwgen's."""
    photo, painting = Image.open(options.content), Image.open(options.style)
    own = row["rwgen"]
    own |= judge.style(Image.open(own.pop("file")), photo, painting)
    for name in options.peers:
        found = row[name]
        folder = Path(found.pop("folder"))
        found["pictures"] = []
        for made in json.loads((folder / "made.json").read_text()):
            scores = judge.style(Image.open(folder / made["file"]), photo, painting)
            found["pictures"].append({**made, **scores})
            good = scores["style"] <= STYLE_SLACK * own["style"]
            if good and scores["content"] >= CONTENT_SLACK * own["content"]:
                found["seconds"], found["iteration"] = made["seconds"], made["iteration"]
                break


def _spread(values: list[float]) -> list[float]:
    return [round(float(value), 3) for value in np.percentile(values, (0, 50, 100))]


if __name__ == "__main__":
    main()
