"""Style transfers and textures by the command line, judged by a trained classifier.

Every picture is made by a whole process, `rwgen style` or `rwgen texture`, whose seconds and peak
memory are recorded. Pictures that the folder already holds are not made again. Variants:

- `paper`: the literal paper (`--paper`, 200 iterations);
- `before`: the defaults before Gram matrices were whitened (full width, noise, 200 iterations);
- `whitened`, `conv1_2`, `narrow`, `colors`, `from-content`: the steps from there, each with all
  earlier ones: whitened Gram matrices, with half the content weight; content at conv1_2 too, styles
  up to conv4_1; the half-width network with its biases and padding; the content in the colors of
  the style; 60 iterations that start from the content, at half the size;
- `now`: the defaults, a pyramid of random filters in place of the half-width network, with margins
  and a content weight of 35;
- `one-size`, `three-sizes`, `bfloat16`, `no-margin`: the defaults but for that;
- `filters3`, `filters5`, `channels64`, `means`: the defaults with another pyramid: filters of other
  sizes, fewer filters, or halved by means of 2x2 pixels.

Each further seed draws the weights of another network of the same kind, and other noise to start
from. With `--evaluate` the record also has the numbers of `rwgen evaluate` for every picture and,
for each reference, the rank correlation of its distances with the judge's.

The table names images by file, so that it applies to any folder of photos, paintings and textures;
`--peers FILE` adds pictures made by other programs: a JSON list of objects with `result` (a file
beside FILE, in the folder `peer`), `by` and `of` (names of the images).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image
from record import write_record
from scipy.stats import spearmanr

from rwgen import StyleConfig, TextureConfig, load_recipe
from rwgen.evaluation import evaluate_style, evaluate_texture, scale_styles, scale_textures

WIDE = ["--network", "ranvgg19-zero-bias", "--iterations", "200", "--margin", "0"]
NOISE = ["--init", "noise"]
TWO_SIZES = ["--octaves", "1"]
OLD_STYLE = [f"--style-layer=conv{block}_1" for block in range(1, 6)]
OLD_CONTENT = ["--content-layer", "conv2_2"]
WIDE_CONTENT = ["--content-layer", "conv1_2,conv2_2"]
WEIGHT = ["--content-weight", "50"]
HALF = ["--network", "ranvgg19-half-width", "--margin", "0", *WIDE_CONTENT, *WEIGHT]
CHANGES: dict[str, dict[str, Any]] = {
    "filters3": {"kernel_size": 3},
    "filters5": {"kernel_size": 5},
    "channels64": {"blocks": ((64, 1),) * 5},
    "means": {"pooling": "avg"},
}
"""Changes of the default recipe by variant."""

VARIANTS: dict[str, dict[str, list[str]]] = {
    "style": {
        "paper": ["--paper", "--iterations", "200"],
        "before": [
            *(*WIDE, *NOISE, *OLD_CONTENT, *OLD_STYLE),
            *("--colors", "mixed", "--no-whiten-gram", "--content-weight", "100"),
        ],
        "whitened": [*WIDE, *NOISE, *OLD_CONTENT, *OLD_STYLE, *WEIGHT, "--colors", "mixed"],
        "conv1_2": [*WIDE, *WIDE_CONTENT, *NOISE, *WEIGHT, "--colors", "mixed"],
        "narrow": [*HALF, *NOISE, "--colors", "mixed", "--iterations", "200"],
        "colors": [*HALF, *NOISE, "--iterations", "200"],
        "from-content": HALF,
        "one-size": ["--octaves", "0", "--iterations", "60"],
        "three-sizes": ["--octaves", "2", "--iterations", "90"],
        "bfloat16": ["--precision", "bfloat16"],
        "no-margin": ["--margin", "0"],
        "now": [],
        **{name: [] for name in CHANGES},
    },
    "texture": {
        "paper": ["--paper", "--iterations", "200"],
        "before": [*WIDE, *TWO_SIZES, "--no-whiten-gram"],
        "whitened": [*WIDE, *TWO_SIZES],
        "narrow": ["--network", "ranvgg19-half-width", "--margin", "0", *TWO_SIZES],
        "no-margin": ["--margin", "0"],
        "now": [],
        **{name: [] for name in CHANGES},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders of images")
    parser.add_argument("--pairs", nargs="*", default=[], help="PHOTO:PAINTING file names")
    parser.add_argument("--textures", nargs="*", default=[], help="file names")
    parser.add_argument("--variants", nargs="+", default=["paper", "before", "now"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--texture-size", type=int, default=256)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--evaluate", action="store_true", help="with rwgen's metrics too (slow)")
    parser.add_argument("--only-pictures", action="store_true", help="judge nothing yet")
    parser.add_argument("--folder", type=Path, required=True, help="where pictures are kept")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    runs = []
    for seed in range(options.seeds):
        for variant in options.variants:
            for pair in options.pairs:
                runs.append(_run(options, "style", variant, pair.split(":"), seed))
            for name in options.textures:
                runs.append(_run(options, "texture", variant, [name], seed))
    if options.only_pictures:
        return
    from judge import Judge  # after the pictures: torch would share the cores

    judge = Judge()
    for peer in json.loads(options.peers.read_text()) if options.peers else []:
        path = options.peers.parent / "peer" / peer["result"]
        runs.append({"variant": peer["by"], "of": peer["of"], "file": str(path)})
    for run in runs:
        run |= _judged(judge, options, Path(run["file"]), run["of"])
    correlations = _evaluate(options, runs) if options.evaluate else None
    for run in runs:
        del run["file"]
    values = {"runs": runs, "ratios": _ratios(runs), "rank_correlations": correlations}
    write_record(options.output, {"size": options.size, **values})


def _run(
    options: argparse.Namespace, task: str, variant: str, names: list[str], seed: int
) -> dict[str, Any]:
    """Make one picture in a process of its own, unless it exists."""
    size = options.size if task == "style" else options.texture_size
    stems = "-in-".join(Path(name).stem for name in names)
    path = options.folder / f"{stems}-{variant}-{seed}-{size}.png"
    measured = path.with_suffix(".json")
    if not measured.exists():
        images = [str(find(options.images, name)) for name in names]
        sizes = ["--size", f"{size}"]
        if task == "texture":
            sizes += ["--source-size", f"{size}"]
        if seed or variant in CHANGES:
            sizes += ["--network", str(_network(options.folder, task, variant, seed))]
        command = [
            sys.executable,
            "-m",
            "rwgen.cli.main",
            task,
            *images,
            *VARIANTS[task][variant],
            *sizes,
        ]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--seed", f"{seed}", "-q", "--force", "-o", str(path)]
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        seconds = round(time.perf_counter() - started, 1)
        measured.write_text(json.dumps({"seconds": seconds, "peak_mib": usage.ru_maxrss // 1024}))
    row = {"task": task, "variant": variant, "of": names, "seed": seed, "file": str(path)}
    print(row | json.loads(measured.read_text()), flush=True)
    return row | json.loads(measured.read_text())


def _network(folder: Path, task: str, variant: str, seed: int) -> Path:
    """A file with the recipe of a variant's network and a seed."""
    kind = StyleConfig if task == "style" else TextureConfig
    arguments = VARIANTS[task][variant]
    name = (kind.paper() if variant == "paper" else kind()).network
    if "--network" in arguments:
        name = arguments[arguments.index("--network") + 1]
    recipe = load_recipe(name)
    changes = CHANGES.get(variant, {})
    path = folder / f"{name}{f'-{variant}' if changes else ''}-seed-{seed}.json"
    recipe = dataclasses.replace(recipe, **changes)
    other = dataclasses.replace(recipe, name=path.stem, seed=seed, weights_sha256={})
    path.write_text(other.to_json())
    return path


def _evaluate(options: argparse.Namespace, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the numbers of `rwgen evaluate` to each run; return rank correlations by reference."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(tuple(run["of"]), []).append(run)
    correlations = []
    for names, group in groups.items():
        results = {run["file"]: _pixels(Path(run["file"])) for run in group}
        images = [_pixels(find(options.images, name)) for name in names]
        if len(names) == 2:
            made, content, styles = scale_styles(results, images[0], images[1:], options.size)
            rows = evaluate_style(made, content, styles)
            pairs = dict.fromkeys(("style", "variances", "patches"), "style")
            pairs |= dict.fromkeys(("content", "ssim"), "content")
        else:
            made, source, _ = scale_textures(results, images[0], options.texture_size)
            rows = evaluate_texture(made, source)
            pairs = dict.fromkeys(("gram", "variances", "patches", "spectrum"), "texture")
        # Baselines come last and are not needed.
        scores = {row.name: row.scores.numbers() for row in itertools.islice(rows, len(group))}
        for run in group:
            run["evaluate"] = {name: round(x, 4) for name, x in scores[run["file"]].items()}
        found = {
            f"{ours} with the judge's {theirs}": float(
                spearmanr(
                    [run["evaluate"][ours] for run in group], [run[theirs] for run in group]
                ).statistic
            )
            for ours, theirs in pairs.items()
            if len(group) > 2
        }
        correlations.append({"of": names, "pictures": len(group), **found})
        print(correlations[-1], flush=True)
    return correlations


def _pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32)


def _judged(
    judge: Any, options: argparse.Namespace, path: Path, names: list[str]
) -> dict[str, Any]:
    with Image.open(path) as result:
        images = [Image.open(find(options.images, name)) for name in names]
        found = judge.style(result, *images) if len(images) == 2 else judge.texture(result, *images)
    return {key: round(value, 4) for key, value in found.items()}


def _ratios(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of a picture by the defaults, as a ratio to those before, for each task."""
    ratios = {}
    for task in VARIANTS:
        seconds = {
            variant: [
                run["seconds"]
                for run in runs
                if (run.get("task"), run["variant"]) == (task, variant)
            ]
            for variant in ("before", "now")
        }
        if all(seconds.values()):
            ratios[task] = round(mean(seconds["now"]) / mean(seconds["before"]), 3)
    return ratios


def find(folders: list[Path], name: str) -> Path:
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise SystemExit(f"expected {name} in one of the folders of images")


if __name__ == "__main__":
    main()
