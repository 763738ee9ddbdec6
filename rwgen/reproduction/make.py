"""Makes one part, in the current process."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen import metrics
from rwgen.errors import CheckpointError
from rwgen.images import read_image, write_image
from rwgen.network.recipe import Recipe
from rwgen.network.vgg import build_network
from rwgen.optimize.checkpoint import Checkpoint
from rwgen.optimize.solution import Solution, Step
from rwgen.reproduction.parts import ImagePart, Inversion, Part, Stack, Texture
from rwgen.reproduction.quality import coarse_correlation, distance_of_plain, mean_distance
from rwgen.reproduction.store import Store
from rwgen.selection import select_weights
from rwgen.synthesis.tasks import invert, synthesize_texture, transfer_style
from rwgen.workers import process_runner

CHECKPOINT_EVERY = 50
"""Number of iterations between two checkpoints of a search."""

DISTANCES = "distances.txt"
"""File in which an inversion records the distance after each step."""

DRAWS_IN_PROCESS = 16
"""Maximum number of draws of a stack that are scored in this process. More are scored in worker
processes, since TensorFlow never frees compiled graphs: gigabytes at the full scale."""


def make_part(part: Part, store: Store) -> None:
    """Make a part, resuming what an interrupted run left of it.

    Args:
        part: part to make; its stack, if any, has been made.
        store: folder of the reproduction.

    Raises:
        OptimizationError: a loss is not finite.
        OutputError: a result cannot be written.
        RecipeError: a network cannot be loaded.
    """
    if store.load(part) is not None:
        return
    began = time.perf_counter()
    try:
        values = _make(part, store)
    except CheckpointError:  # damaged, incomplete or of other package versions: start over
        shutil.rmtree(store.workplace(part))
        values = _make(part, store)
    seconds = max(values.pop("search_seconds", 0.0), time.perf_counter() - began)
    store.finish(part, {**values, "seconds": seconds})


def _make(part: Part, store: Store) -> dict[str, Any]:
    workplace = store.workplace(part)
    if isinstance(part, Stack):
        return _make_stack(part, workplace)
    return _make_image(part, store, workplace)


def _make_stack(part: Stack, workplace: Path) -> dict[str, Any]:
    checkpoint = Checkpoint(workplace / "checkpoint")
    many = len(part.searches) > DRAWS_IN_PROCESS
    with process_runner(1) if many else contextlib.nullcontext(map) as run:
        recipe = select_weights(
            part.reference.read(),
            num_candidates=part.candidates,
            recipe=part.base,
            layers=part.layers,
            config=part.config,
            run=run,
            checkpoint=checkpoint,
        )
    (workplace / "recipe.json").write_text(recipe.to_json(), encoding="utf-8")
    _remove(checkpoint, workplace)
    numbers: dict[str, Any] = {"candidates": dict(recipe.candidates)}
    if recipe.selection is not None:
        numbers["losses"] = {name: list(row) for name, row in recipe.selection.losses.items()}
    return {"numbers": numbers, "history": {}, "seconds_per_evaluation": None, "snapshots": ()}


class _Trace:
    """Records the distance after each step, and snapshots of the image.

    Both are kept in files, as a resumed search does not repeat its earlier steps.
    """

    def __init__(self, part: Inversion, target: NDArray[Any], workplace: Path) -> None:
        self._part, self._target, self._workplace = part, target, workplace
        self._file = workplace / DISTANCES
        if not self._file.exists():
            self._file.touch()

    def __call__(self, step: Step, best: Callable[[], NDArray[Any]]) -> None:
        image = best().clip(0, 255)
        distance = mean_distance(self._target, image)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"\n{step.iteration} {distance!r} .")
        if step.iteration in self._part.snapshots:
            write_image(self._snapshot(step.iteration), image)

    def _snapshot(self, iteration: int) -> Path:
        return self._workplace / f"iteration-{iteration:06d}.png"

    def snapshots(self, last: int) -> list[int]:
        wanted = [number for number in self._part.snapshots if number <= last]
        return [number for number in wanted if self._snapshot(number).exists()]

    def distances(self) -> dict[int, float]:
        """Return distances by iteration, without incomplete lines, which lack the final dot."""
        rows = [line.split() for line in self._file.read_text(encoding="utf-8").splitlines()]
        return {int(row[0]): float(row[1]) for row in rows if len(row) == 3}


def _make_image(part: ImagePart, store: Store, workplace: Path) -> dict[str, Any]:
    checkpoint = Checkpoint(workplace / "checkpoint", CHECKPOINT_EVERY)
    network = build_network(_recipe(part, store), part.searches[0].layer)
    common: dict[str, Any] = {"network": network, "checkpoint": checkpoint}
    distances: dict[int, float] = {}
    snapshots: list[int] = []
    if isinstance(part, Inversion):
        picture = part.picture.read()
        trace = _Trace(part, picture, workplace)
        solution = invert(picture, part.layer, config=part.config, callback=trace, **common)
        distances = trace.distances()
        if any(step.iteration not in distances for step in solution.history):
            raise checkpoint.refused("distances of its steps were lost")
        snapshots = trace.snapshots(solution.iterations)
    elif isinstance(part, Texture):
        solution = synthesize_texture(part.source.read(), config=part.config, **common)
    else:
        solution = transfer_style(
            part.content.read(), [part.painting.read()], config=part.config, **common
        )
    file = workplace / "image.png"
    write_image(file, solution.image)
    history = _history(solution, distances)
    numbers = _judge(part, read_image(file)) | {
        "loss_share": solution.loss / solution.initial_loss if solution.initial_loss else 0.0,
        "iterations": solution.iterations,
        "evaluations": solution.evaluations,
        "stop_reason": solution.stop_reason.value,
    }
    _remove(checkpoint, workplace)
    # After the checkpoint, since a search resumed from its end needs the distances in here.
    (workplace / DISTANCES).unlink(missing_ok=True)
    return {
        "numbers": numbers,
        "history": history,
        "seconds_per_evaluation": _seconds_per_evaluation(solution),
        "snapshots": snapshots,
        "search_seconds": solution.seconds,
    }


def _recipe(part: ImagePart, store: Store) -> Recipe:
    network = part.network
    if isinstance(network, Recipe):
        return network
    result = store.load(network)
    assert result is not None, "stacks are made before their inversions"
    return Recipe.from_json(result.recipe.read_text(encoding="utf-8"))


def _judge(part: ImagePart, image: NDArray[Any]) -> dict[str, Any]:
    """Return the measurements of the image as written."""
    if isinstance(part, Inversion):
        picture = part.picture.read()
        return {
            "distance": mean_distance(picture, image),
            "distance_of_plain": distance_of_plain(picture),
            "psnr": metrics.psnr(picture, image),
            "ssim": metrics.ssim(picture, image),
            "coarse_correlation": coarse_correlation(picture, image),
        }
    if isinstance(part, Texture):
        source = part.source.read()
        return {
            "patches": _patches(image, source),
            "spectrum": metrics.power_spectrum_distance(image, source),
            "covariances": metrics.gram_distance(image, source),
            "copies": metrics.copy_rate(image, source),
        }
    content, painting = part.content.read(), part.painting.read()
    networks = metrics.HeldOutNetworks()
    return {
        "patches": _patches(image, painting),
        "patches_of_photo": _patches(content, painting),
        "covariances": metrics.gram_distance(image, painting, networks=networks),
        "covariances_of_photo": metrics.gram_distance(content, painting, networks=networks),
        "coarse_correlation": coarse_correlation(image, content),
        "coarse_correlation_of_painting": coarse_correlation(painting, content),
        "ssim": metrics.ssim(image, content),
        "ssim_of_painting": metrics.ssim(painting, content),
    }


def _patches(image: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the distance between patch distributions, mean over scales."""
    return float(np.mean(metrics.sliced_wasserstein(image, other)))


def _history(solution: Solution, distances: dict[int, float]) -> dict[str, list[float]]:
    """Return columns with one row per iteration; an iteration of two sizes counts at the finer."""
    steps = {step.iteration: step for step in solution.history}
    rows = [steps[number] for number in sorted(steps)]
    columns: dict[str, list[float]] = {
        "iteration": [step.iteration for step in rows],
        "evaluations": [step.evaluations for step in rows],
        "seconds": [round(step.seconds, 3) for step in rows],
        "loss": [step.loss for step in rows],
    }
    if distances:
        columns["distance"] = [distances[step.iteration] for step in rows]
    return columns


def _seconds_per_evaluation(solution: Solution) -> float | None:
    """Return the median over the second half of the search, which is free of compilation."""
    steps = solution.history[len(solution.history) // 2 :]
    rates = [
        (after.seconds - before.seconds) / (after.evaluations - before.evaluations)
        for before, after in itertools.pairwise(steps)
        if after.evaluations > before.evaluations
    ]
    return float(np.median(rates)) if rates else None


def _remove(checkpoint: Checkpoint, workplace: Path) -> None:
    checkpoint.remove()
    folder = workplace / "checkpoint"
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()
