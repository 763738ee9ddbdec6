"""Thirty mixed jobs with one, with two processes and on a local Ray cluster, one process killed.

In each mode, a process is killed in the middle of a job, and the same command is run again. The
record has what was made and what failed each time, seconds, and whether the pixels of all images
are the same in every mode.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

from record import write_record

from rwgen.cli import batch
from rwgen.cli.jobs import Done, Job, run_job
from rwgen.cli.main import main as rwgen
from rwgen.images import read_image

MODES = {"one process": ["--workers", "1"], "two processes": ["--workers", "2"],
         "Ray": ["--ray", "local"]}  # fmt: skip
DEADLY = "texture-3.png"
"""Image whose job kills its process, the first time."""

SECONDS = 1.0
"""Seconds of this job before that."""

EXAMPLES = Path(__file__).parent.parent / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    batch._run = run_or_die
    rows, images = [], {}
    with tempfile.TemporaryDirectory() as name:
        jobs = Path(name) / "jobs.jsonl"
        jobs.write_text(
            "".join(json.dumps(job) + "\n" for job in mixed(options.size, options.iterations))
        )
        for mode, words in MODES.items():
            folder = Path(name) / mode.replace(" ", "-")
            for attempt in ("first", "again"):
                values = call("batch", str(jobs), "-o", str(folder), "--json", *words)
                keys = ("done", "skipped", "failed", "seconds")
                rows.append({"mode": mode, "run": attempt} | {key: values[key] for key in keys})
                failed = [job for job in values["jobs"] if job["error"]]
                rows[-1]["errors"] = [job["error"] for job in failed]
                print(rows[-1], flush=True)
            images[mode] = {path.name: digest(path) for path in sorted(folder.glob("*.png"))}
    same = all(found == images["one process"] for found in images.values())
    number = len(images["one process"])
    print(f"{number} images, the same in every mode: {same}")
    write_record(options.output, {"jobs": 30, "rows": rows, "images": number, "same": same})


def mixed(size: int, iterations: int) -> list[dict[str, Any]]:
    """Thirty jobs of three kinds."""
    photo, other, painting = (
        str(EXAMPLES / name)
        for name in ("astronaut.jpg", "coffee.jpg", "village-street-in-auvers.jpg")
    )
    common = {"iterations": iterations}
    jobs: list[dict[str, Any]] = []
    for number in range(10):
        image = photo if number % 2 else other
        kinds: list[dict[str, Any]] = [
            {"task": "style", "content": image, "style": painting, "size": size,
             "content-weight": 10 * (number + 1)},
            {"task": "texture", "source": str(EXAMPLES / "brick.jpg"), "size": f"{size}x{size}",
             "source-size": size, "seed": number},
            {"task": "invert", "image": image, "layer": "conv2_1", "size": size, "seed": number},
        ]  # fmt: skip
        jobs += [{**kind, **common, "output": f"{kind['task']}-{number}.png"} for kind in kinds]
    return jobs


def run_or_die(threads: int, job: Job) -> Done:
    """Run a job as `rwgen batch` does, but kill the process in the middle of one, once."""
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(threads))
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    output = Path(job.output)
    mark = output.with_suffix(".killed")
    if output.name == DEADLY and not mark.exists():
        mark.touch()
        threading.Timer(SECONDS, os.kill, [os.getpid(), signal.SIGKILL]).start()
    return run_job(job)


def call(*words: str) -> dict[str, Any]:
    """Call rwgen; the object that it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        rwgen(words)
    values = json.loads(out.getvalue())
    assert isinstance(values, dict)
    return values


def digest(path: Path) -> str:
    """SHA-256 of the pixels of an image."""
    return hashlib.sha256(read_image(path).tobytes()).hexdigest()


if __name__ == "__main__":
    main()
