"""Measure the time and evaluations to a given loss: rwgen, plain TFP, SciPy and PyTorch.

The target loss is the one that SciPy's L-BFGS-B (m = 20) reaches after 200 iterations from the same
start. Each optimizer runs on the objective that its users would have:

- rwgen and `tfp.optimizer.lbfgs_minimize` on rwgen's objective;
- SciPy on an objective compiled by XLA and called from Python, once with the framework's
  convolutions and once with rwgen's;
- `torch.optim.LBFGS` on the objective written in PyTorch, once with its strong Wolfe search and
  once with its default, full steps.

The loss is multiplied by the same factor for all, so that the first step along the gradient is as
long as rwgen's. Compilation is not timed. The runs follow each other in one process, and each
reports the loss of the best point it has evaluated.

With `--coarse`, searches that start at half the size are measured as well, from the same seed and
with several shares of the iterations. Their target is the loss at full size.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from evaluation import FORMATS, objectives
from numpy.typing import NDArray
from record import write_record
from scipy.optimize import minimize as scipy_minimize
from torch_peer import TorchObjective

from rwgen import OptimizerConfig, read_image, resize_image
from rwgen.network.preprocess import deprocess, network_input
from rwgen.noise import white_noise
from rwgen.optimize.minimizer import Minimizer
from rwgen.synthesis.objectives import Objective

PAIRS = OptimizerConfig().num_correction_pairs
TASKS = ("style", "texture", "conv3_1", "conv5_1")
OURS, PLAIN = "rwgen", "lbfgs_minimize"
SCIPY = {"direct": "scipy", "rwgen": "scipy with rwgen's objective"}
SHARES = (0.25, 0.5, 0.75)
"""Shares of the iterations that a search spends at half the size."""


class ReachedError(Exception):
    """The target loss or the time limit has been reached."""


@dataclass
class Trace:
    """Evaluations of one run, up to its target loss.

    Attributes:
        goal: target loss of the unscaled objective.
        patience: seconds after which the run is abandoned.
        evaluations: number of evaluations so far.
        best: lowest loss so far.
        began: time at which the run started.
    """

    goal: float = -np.inf
    patience: float = np.inf
    evaluations: int = 0
    best: float = np.inf
    began: float = field(default_factory=time.perf_counter)

    def add(self, loss: float) -> None:
        """Count an evaluation and raise `ReachedError` at the end of the run."""
        self.evaluations += 1
        self.best = min(self.best, loss)
        if self.best <= self.goal or time.perf_counter() - self.began > self.patience:
            raise ReachedError

    def row(self) -> dict[str, Any]:
        """Return the entry of the run in the record."""
        return {
            "seconds": time.perf_counter() - self.began,
            "evaluations": self.evaluations,
            "loss": self.best,
            "reached": self.best <= self.goal,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument(
        "--iterations", type=int, default=200, help="of the SciPy run that sets the target"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--coarse", action="store_true", help="also start at half the size")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    settings = {"size": options.size, "iterations": options.iterations}
    results: list[dict[str, Any]] = []
    if options.output.exists():
        before = json.loads(options.output.read_text(encoding="utf-8"))
        if before["settings"] != settings:
            raise SystemExit(f"{options.output} was made with other settings: {before['settings']}")
        results = before["results"]
    photo, painting = (
        network_input(resize_image(read_image(path), options.size, options.size))
        for path in (options.content, options.style)
    )
    for task in options.tasks:
        missing = set(range(options.seeds)) - {x["seed"] for x in results if x["task"] == task}
        if missing:
            race = Race(task, photo, painting, options.coarse)
            for seed in sorted(missing):
                results.append({"task": task, "seed": seed, **race.run(seed, options.iterations)})
                write_record(options.output, {"settings": settings, "results": results})
        print(task, _summary([row for row in results if row["task"] == task]), flush=True)


class Race:
    """One objective and all optimizers that minimize it."""

    def __init__(
        self, task: str, photo: NDArray[Any], painting: NDArray[Any], coarse: bool
    ) -> None:
        _, ours, peers = objectives(task, photo, painting)
        self.shape = photo.shape
        self.peer = _faster(peers, photo)
        self.minimizers = {
            OURS: _minimizer(ours["rwgen"], self.shape, "wolfe_first"),
            PLAIN: _minimizer(ours["rwgen"], self.shape, "hager_zhang"),
        }
        self.evaluators = {
            "rwgen": self.minimizers[OURS],
            "direct": _minimizer(ours["direct"], self.shape, "wolfe_first"),
        }
        self.coarse: Minimizer | None = None
        if coarse:
            halves = [_halved(image) for image in (photo, painting)]
            objective = objectives(task, *halves)[1]["rwgen"]
            self.coarse = _minimizer(objective, halves[0].shape, "wolfe_first")

    def run(self, seed: int, iterations: int) -> dict[str, Any]:
        """Run all optimizers from the same noise to the loss that SciPy reaches."""
        start = network_input(white_noise(seed, self.shape[1:]))
        for minimizer in self.minimizers.values():  # compile before timing
            minimizer.minimize(start, lambda step, _: step.iteration == 2)
        loss, gradient = self._evaluate("direct", start.ravel())
        scale = OptimizerConfig().first_step / float(np.sqrt(np.mean(gradient**2)))
        reference = self._scipy("direct", start, scale, Trace(), iterations)
        goal, patience = reference["loss"], 3 * reference["seconds"]
        rows: dict[str, Any] = {}
        for name, minimizer in self.minimizers.items():
            rows[name] = self._ours(minimizer, start, goal, patience)
        for key, name in SCIPY.items():
            rows[name] = self._scipy(key, start, scale, Trace(goal, patience), 10 * iterations)
        for line_search in ("strong_wolfe", None):
            name = f"torch {line_search or 'full step'}"
            rows[name] = self._torch(start, scale, Trace(goal, patience), line_search)
        if self.coarse:
            for share in SHARES:
                count = round(share * iterations)
                rows[f"rwgen, {share:g} at half the size"] = self._from_coarse(
                    self.coarse, seed, count, goal, patience
                )
        return {"start": loss, "goal": goal, "reference": reference, "runs": rows}

    def _evaluate(self, which: str, position: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
        point = tf.constant(position.astype(np.float32))
        loss, gradient, _ = self.evaluators[which]._evaluate(point)
        return float(loss), gradient.numpy().astype(np.float64)

    def _from_coarse(
        self, coarse: Minimizer, seed: int, iterations: int, goal: float, patience: float
    ) -> dict[str, Any]:
        begin = network_input(white_noise(seed, coarse._shape[1:]))
        coarse.minimize(begin, lambda step, _: step.iteration == 2)
        first = coarse.minimize(begin, lambda step, _: step.iteration == iterations)
        began = time.perf_counter()
        pixels = deprocess(first.image[0]).clip(0, 255)
        start = network_input(resize_image(pixels, *self.shape[1:3]))
        between = time.perf_counter() - began
        row = self._ours(self.minimizers[OURS], start, goal, patience)
        row["coarse_seconds"] = first.seconds
        row["seconds"] += first.seconds + between
        return row

    @staticmethod
    def _ours(
        minimizer: Minimizer, start: NDArray[Any], goal: float, patience: float
    ) -> dict[str, Any]:
        solution = minimizer.minimize(
            start, lambda step, _: step.loss <= goal or step.seconds > patience
        )
        return {
            "seconds": solution.seconds,
            "evaluations": solution.evaluations,
            "iterations": solution.iterations,
            "loss": solution.loss,
            "reached": solution.loss <= goal,
            "ended": str(solution.stop_reason),
        }

    def _scipy(
        self, which: str, start: NDArray[Any], scale: float, trace: Trace, iterations: int
    ) -> dict[str, Any]:
        def function(position: NDArray[Any]) -> tuple[float, NDArray[Any]]:
            loss, gradient = self._evaluate(which, position)
            trace.add(loss)
            return loss * scale, gradient * scale

        ended = "reached"
        try:
            result = scipy_minimize(
                function,
                start.ravel().astype(np.float64),
                jac=True,
                method="L-BFGS-B",
                options={
                    "maxcor": PAIRS,
                    "maxiter": iterations,
                    "maxfun": 10**9,
                    "ftol": 0,
                    "gtol": 0,
                },
            )
            ended = str(result.message)
        except ReachedError:
            pass
        return trace.row() | {"ended": ended}

    def _torch(
        self, start: NDArray[Any], scale: float, trace: Trace, line_search: str | None
    ) -> dict[str, Any]:
        image = torch.from_numpy(np.ascontiguousarray(start.transpose(0, 3, 1, 2)))
        image.requires_grad_()
        optimizer = torch.optim.LBFGS(
            [image],
            lr=1.0,
            max_iter=10**6,
            max_eval=10**9,
            tolerance_grad=0,
            tolerance_change=0,
            history_size=PAIRS,
            line_search_fn=line_search,
        )

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            point = image.contiguous(memory_format=self.peer.memory_format)
            loss = self.peer.loss(point) * scale
            loss.backward()  # type: ignore[no-untyped-call]
            trace.add(float(loss.detach()) / scale)
            return loss

        ended = "stopped"
        try:
            optimizer.step(closure)  # type: ignore[no-untyped-call]
        except ReachedError:
            ended = "reached"
        row = trace.row() | {"ended": ended}
        point = image.detach().permute(0, 2, 3, 1).contiguous().numpy()
        return row | {"loss_by_rwgen_at_the_end": self._evaluate("rwgen", point.ravel())[0]}


def _minimizer(objective: Objective, shape: tuple[int, ...], line_search: Any) -> Minimizer:
    config = OptimizerConfig(line_search=line_search, max_iterations=100_000)
    return Minimizer(objective, shape, config=config)


def _halved(image: NDArray[Any]) -> NDArray[np.float32]:
    height, width = (side // 2 for side in image.shape[1:3])
    half: NDArray[np.float32] = network_input(resize_image(deprocess(image[0]), height, width))
    return half


def _faster(peers: dict[str, TorchObjective], image: NDArray[Any]) -> TorchObjective:
    """Return the objective whose memory format is faster over three evaluations."""
    seconds: dict[str, float] = {}
    for name, peer in peers.items():
        peer.evaluate(image)
        began = time.perf_counter()
        for _ in range(3):
            peer.evaluate(image)
        seconds[name] = time.perf_counter() - began
    return peers[min(FORMATS, key=seconds.__getitem__)]


def _summary(rows: list[dict[str, Any]]) -> str:
    """Format the median ratios to the faster of SciPy and PyTorch that reached the target."""
    parts = []
    for name in rows[0]["runs"]:
        ratios = []
        for row in rows:
            runs = row["runs"]
            others = [SCIPY["direct"], *(key for key in runs if key.startswith("torch"))]
            peers = [runs[key] for key in others if runs[key]["reached"]]
            best = min(peer["seconds"] for peer in peers)
            ratios.append(runs[name]["seconds"] / best if runs[name]["reached"] else np.inf)
        evaluations = np.median([row["runs"][name]["evaluations"] for row in rows])
        low, middle, high = np.percentile(ratios, (0, 50, 100), method="nearest")
        parts.append(f"{name} {middle:.2f} ({low:.2f}..{high:.2f}), {evaluations:.0f} evaluations")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
