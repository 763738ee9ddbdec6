"""How seconds and memory of a style transfer grow with the image, and whether tiles leave seams.

Each size is one process, `rwgen style` with its defaults and a memory limit. Recorded are its
seconds, those of the search (from `--json`), the peak memory, and how features were computed. Where
they were computed in tiles, the seam ratio is the mean difference of adjacent pixels across a
border of tiles, divided by that across the nearest places that lie alike on the grids of the pools,
those of the next coarser size included. Recorded are its mean over all borders, its standard
deviation over all other places, and the mean of the photo, enlarged.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import write_record

from rwgen import StyleConfig
from rwgen.compute.tiles import tile_spans
from rwgen.synthesis.margins import margin_within

STRIDE, HALO = 8, 32
"""Of the default network's layers; the halo does not move the borders of tiles."""

GRID, NEIGHBORS = 2 * STRIDE, 8
"""Distance of places that lie alike, and how many of them on each side are compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--memory-limit", default="6GiB")
    parser.add_argument("--folder", type=Path, required=True, help="where pictures are kept")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for size in options.sizes:
        runs.append(_run(options, size))
        print(json.dumps(runs[-1]), flush=True)
    base = next((run for run in runs if run["size"] == 512), runs[0])
    for run in runs:
        run["search_ratio"] = run["search_seconds"] / base["search_seconds"]
        run["pixels_ratio"] = run["pixels"] / base["pixels"]
    write_record(options.output, {"memory_limit": options.memory_limit, "runs": runs})


def _run(options: argparse.Namespace, size: int) -> dict[str, Any]:
    path = options.folder / f"{options.content.stem}-{size}.png"
    command = [
        *(sys.executable, "-m", "rwgen.cli.main", "style"),
        *(str(options.content), str(options.style), "--size", str(size), "--json", "--force"),
        *("--memory-limit", options.memory_limit, "-o", str(path)),
    ]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        errors.seek(0)
        lines = errors.read()
    if status:
        raise SystemExit(lines)
    seconds = time.perf_counter() - began
    pixels = np.asarray(Image.open(path), np.float64)
    tile = re.search(r"in tiles of (\d+)", lines)
    how = f"tiles of {tile[1]}" if tile else "recomputed" if "recomputing" in lines else "kept"
    return {
        "size": size,
        "pixels": pixels.shape[0] * pixels.shape[1],
        "seconds": seconds,
        "search_seconds": json.loads(output)["seconds"],
        "peak_mib": usage.ru_maxrss // 1024,
        "features": how,
        "seams": _seams(pixels, _enlarged(options.content, pixels), int(tile[1])) if tile else None,
    }


def _enlarged(path: Path, pixels: np.ndarray) -> np.ndarray:
    size = pixels.shape[1], pixels.shape[0]
    photo = Image.open(path).convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return np.asarray(photo, np.float64)


def _seams(result: np.ndarray, photo: np.ndarray, side: int) -> dict[str, float | int]:
    """Seam ratios of the result, and of the photo, whose scene differs there too."""
    borders, others = _seam_ratios(result, side)
    return {
        "result": float(np.mean(borders)),
        "deviation": float(np.std(others)),
        "photo": float(np.mean(_seam_ratios(photo, side)[0])),
        "borders": len(borders),
    }


def _seam_ratios(pixels: np.ndarray, side: int) -> tuple[list[float], list[float]]:
    """Ratios at the borders of tiles, and at all other places that lie alike."""
    margin = margin_within(pixels.shape[:2], StyleConfig().margin)
    borders, others = [], []
    for axis in (0, 1):
        differences = np.abs(np.diff(pixels, axis=axis)).mean(axis=(1 - axis, 2))
        spans = tile_spans(pixels.shape[axis] + 2 * margin, side, STRIDE, HALO)
        begins = {span.begin - margin - 1 for span in spans if span.begin}
        for place in range((-margin - 1) % STRIDE, len(differences), STRIDE):
            near = place + GRID * np.array([*range(-NEIGHBORS, 0), *range(1, NEIGHBORS + 1)])
            near = near[(near >= 0) & (near < len(differences))]
            ratio = float(differences[place] / differences[near].mean())
            (borders if place in begins else others).append(ratio)
    return borders, others


if __name__ == "__main__":
    main()
