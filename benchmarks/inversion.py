"""Measure what each layer keeps of a photo: PSNR and SSIM of inversions for several networks.

Each combination of layer, photo, seed and network is one inversion from white noise, limited by the
number of evaluations. The seed determines the noise. `paper` is the literal reading of the paper:
no biases, pixels, one size, no whitening. Runs that are already in the record are not repeated.
`--sheet` writes the reconstructions of the first photo and seed for every network.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_record
from sheet import write_sheet
from skimage import data

from rwgen import InversionConfig, OptimizerConfig, load_recipe, read_image, resize_image
from rwgen.network.architecture import VGG19
from rwgen.network.recipe import ZERO_BIAS_NETWORK
from rwgen.workers import process_runner

LAYERS = [spec.name for spec in VGG19.layers() if spec.name != "fc8"]
PAPER = "paper"
SHEET_ROW = 6
VARIANTS: dict[str, dict[str, Any]] = {
    "pixel": {"parameterization": "pixel"},
    "fourier-box": {"parameterization": "fourier-box"},
    "whitened": {"whiten_features": True},
    "unmixed": {"whiten_features": False},
}


@dataclass(frozen=True)
class Job:
    """Settings of one inversion."""

    network: str
    layer: str
    photo: str
    seed: int
    size: int
    evaluations: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--networks",
        nargs="+",
        default=["ranvgg19", "ranvgg19-stacked", PAPER],
        help="names, with variants as in ranvgg19:pixel:unmixed",
    )
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument(
        "--photos", nargs="+", default=["astronaut"], help="names in scikit-image, or files"
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--evaluations", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--sheet-side", type=int, help="side of each image in the sheet")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    results: list[dict[str, Any]] = []
    if options.output.exists():
        results = json.loads(options.output.read_text(encoding="utf-8"))["results"]
    images = options.output.with_suffix("")
    images.mkdir(exist_ok=True)
    names = [field.name for field in dataclasses.fields(Job)]
    made = {tuple(row[name] for name in names) for row in results}
    jobs = [
        Job(network, layer, photo, seed, options.size, options.evaluations)
        for photo in options.photos
        for seed in range(options.seeds)
        for layer in options.layers
        for network in options.networks
    ]
    missing = [job for job in jobs if dataclasses.astuple(job) not in made]
    with process_runner(options.workers) as run:
        for job, (values, pixels) in zip(missing, run(invert_one, missing), strict=True):
            results.append(dataclasses.asdict(job) | values)
            np.save(_image_file(images, job), pixels)
            write_record(options.output, {"results": results})
            print(job.network, job.layer, Path(job.photo).stem, job.seed, values, flush=True)
    print(_table(results, options.networks, options.layers))
    if options.sheet:
        first = [job for job in jobs if job.photo == options.photos[0] and job.seed == 0]
        rows = []
        for network in options.networks:
            cells = [("photo", load_photo(options.photos[0], options.size))]
            for job in (job for job in first if job.network == network):
                quality = next(row["psnr"] for row in results if _is_of(row, job))
                cells.append((f"{job.layer}: {quality:.1f} dB", np.load(_image_file(images, job))))
            side = options.sheet_side or options.size
            small = [(label, resize_image(image, side, side)) for label, image in cells]
            rows += [small[at : at + SHEET_ROW] for at in range(0, len(small), SHEET_ROW)]
        write_sheet(options.sheet, rows)


def _is_of(row: dict[str, Any], job: Job) -> bool:
    return all(row[name] == value for name, value in dataclasses.asdict(job).items())


def invert_one(job: Job) -> tuple[dict[str, float], NDArray[np.uint8]]:
    """Run one job and return its measurements and the image; called in a worker process."""
    import rwgen
    from rwgen import metrics

    photo = load_photo(job.photo, job.size)
    optimizer = OptimizerConfig(max_iterations=job.evaluations)
    config = InversionConfig(seed=job.seed, optimizer=optimizer)
    name, *words = job.network.split(":")
    recipe = load_recipe(ZERO_BIAS_NETWORK if name == PAPER else name)
    if name == PAPER:
        words = ["pixel", "unmixed"]
        config = dataclasses.replace(config, octaves=0)
    for word in words:
        config = dataclasses.replace(config, **VARIANTS[word])
    network = rwgen.build_network(recipe, job.layer)
    began = time.perf_counter()
    solution = rwgen.invert(
        photo,
        job.layer,
        network=network,
        config=config,
        callback=lambda step, _: step.evaluations >= job.evaluations,
    )
    pixels = np.rint(solution.image).clip(0, 255).astype(np.uint8)
    values = {
        "psnr": float(metrics.psnr(photo, pixels) or np.inf),
        "ssim": float(metrics.ssim(photo, pixels)),
        "distance": float(np.sqrt(np.sum((photo - pixels) ** 2)) / photo.size),
        "loss": solution.loss / solution.initial_loss,
        "evaluations_made": solution.evaluations,
        "seconds": time.perf_counter() - began,
    }
    return values, pixels


def load_photo(name: str, size: int) -> NDArray[np.float32]:
    """Load the central square of a file or of a scikit-image photo, resized."""
    if Path(name).suffix:
        image = read_image(name)
    else:
        image = np.asarray(getattr(data, name)())[..., :3].astype(np.float32)
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return resize_image(image[top : top + side, left : left + side], size, size)


def _image_file(folder: Path, job: Job) -> Path:
    words = (
        Path(job.network).name.replace(":", "_"),
        job.layer,
        Path(job.photo).stem,
        str(job.seed),
        str(job.size),
    )
    return folder / ("-".join(words) + ".npy")


def _table(results: list[dict[str, Any]], networks: list[str], layers: list[str]) -> str:
    """Format a Markdown table of median PSNR / SSIM, with the PSNR range of several runs."""
    lines = ["| layer | " + " | ".join(networks) + " |", "|---" * (1 + len(networks)) + "|"]
    for layer in layers:
        cells = [layer]
        for network in networks:
            rows = [row for row in results if (row["network"], row["layer"]) == (network, layer)]
            if not rows:
                cells.append("")
                continue
            quality = [row["psnr"] for row in rows]
            text = f"{np.median(quality):.1f} / {np.median([row['ssim'] for row in rows]):.2f}"
            if len(rows) > 1:
                text += f" ({min(quality):.1f}..{max(quality):.1f})"
            cells.append(text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
