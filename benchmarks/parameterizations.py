"""What each parameterisation reaches in the same wall time, over images and seeds.

Inversions are judged by PSNR and SSIM, textures and styles by the loss under a network of another
seed than the one that made them, relative to its loss at the noise the pixel search begins with.
Clocks start after the first iteration, which holds all compilation. Results are kept after every
run, and runs that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from record import write_record
from skimage import data

from rwgen import (
    InversionConfig,
    OptimizerConfig,
    Recipe,
    Solution,
    StyleConfig,
    TextureConfig,
    build_network,
    invert,
    load_recipe,
    resize_image,
    synthesize_texture,
    transfer_style,
)
from rwgen.metrics import psnr, ssim
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import DEFAULT_NETWORK
from rwgen.noise import white_noise
from rwgen.optimize.solution import Step
from rwgen.synthesis.config import ParameterizationName
from rwgen.synthesis.objectives import Objective, style_objective, texture_objective

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "retina")
TEXTURES = ("brick", "gravel", "grass", "immunohistochemistry", "coffee", "chelsea")
HELD_OUT_SEED = 20160613


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["conv3_1", "pool5", "texture", "style"])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    settings = {"size": options.size, "seconds": options.seconds, "held_out": HELD_OUT_SEED}
    results: list[dict[str, Any]] = []
    if options.output.exists():
        before = json.loads(options.output.read_text(encoding="utf-8"))
        if before["settings"] != settings:
            raise SystemExit(f"{options.output} has other settings: {before['settings']}")
        results = before["results"]
    made = {(row["task"], row["image"], row["seed"], row["parameterization"]) for row in results}
    trial = Trial(options.size, options.seconds)
    for task in options.tasks:
        for number in range(len(PHOTOS)):
            for seed in range(options.seeds):
                for name in get_args(ParameterizationName):
                    if (task, number, seed, name) in made:
                        continue
                    values = trial.run(task, number, seed, name)
                    row = {"task": task, "image": number, "seed": seed, "parameterization": name}
                    results.append(row | values)
                    write_record(options.output, {"settings": settings, "results": results})
        for name in get_args(ParameterizationName):
            print(task, name, _summary(results, task, name), flush=True)


class Trial:
    """One run of a task, stopped by the clock."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size = size
        self.seconds = seconds
        self.networks: dict[str, Any] = {
            "invert": build_network(load_recipe(DEFAULT_NETWORK), "pool5"),
            "others": build_network(load_recipe(StyleConfig().network), "conv5_1"),
            "held out": build_network(Recipe(seed=HELD_OUT_SEED, bias_stddev=0.0), "conv5_1"),
        }

    def run(
        self, task: str, number: int, seed: int, name: ParameterizationName
    ) -> dict[str, float]:
        """What a task reaches with an image, a seed and a parameterisation."""
        photo = _picture(PHOTOS[number], self.size)
        texture = _picture(TEXTURES[number], self.size)
        optimizer = OptimizerConfig(max_iterations=100_000)
        noise = white_noise(seed, photo.shape)
        if task == "texture":
            source = TextureConfig(parameterization=name, seed=seed, octaves=0, optimizer=optimizer)
            solution = synthesize_texture(
                texture, network=self.networks["others"], config=source, callback=self._clock()
            )
            judge = texture_objective(self.networks["held out"], network_input(texture), source)
            return _judged(judge, solution, noise)
        if task == "style":
            config = StyleConfig(parameterization=name, seed=seed, octaves=0, optimizer=optimizer)
            solution = transfer_style(
                photo,
                [texture],
                network=self.networks["others"],
                config=config,
                callback=self._clock(),
            )
            images = network_input(photo), [network_input(texture)]
            judge = style_objective(self.networks["held out"], *images, config)
            return _judged(judge, solution, noise)
        settings = InversionConfig(
            parameterization=name,
            whiten_features=False,
            octaves=0,
            seed=seed,
            optimizer=optimizer,
        )
        solution = invert(
            photo,
            task,
            network=self.networks["invert"],
            config=settings,
            callback=self._clock(),
        )
        pixels = np.rint(solution.image).clip(0, 255).astype(np.uint8)
        return _row(solution) | {"psnr": psnr(photo, pixels), "ssim": ssim(photo, pixels)}

    def _clock(self) -> Callable[[Step, Any], bool]:
        began: list[float] = []

        def callback(step: Step, _best: Any) -> bool:
            if step.iteration == 1:
                began.append(step.seconds)
            return bool(began) and step.seconds - began[0] > self.seconds

        return callback


def _picture(name: str, size: int) -> NDArray[np.float32]:
    image = np.asarray(getattr(data, name)())
    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = image[top : top + side, left : left + side].astype(np.float32)
    return resize_image(square, size, size)


def _row(solution: Solution) -> dict[str, float]:
    return {
        "loss": solution.loss / solution.initial_loss,
        "iterations": solution.iterations,
        "evaluations": solution.evaluations,
    }


def _judged(judge: Objective, solution: Solution, noise: NDArray[np.float32]) -> dict[str, float]:
    def loss(image: NDArray[Any]) -> float:
        point = tf.constant(network_input(image))
        return float(tf.add_n(list(judge(point).values())))

    clipped = np.rint(solution.image).clip(0, 255).astype(np.float32)
    return _row(solution) | {"held_out_loss": loss(clipped) / loss(noise)}


def _summary(results: list[dict[str, Any]], task: str, name: str) -> str:
    rows = [x for x in results if x["task"] == task and x["parameterization"] == name]
    keys = [key for key in ("psnr", "ssim", "held_out_loss") if key in rows[0]]
    parts = []
    for key in keys:
        low, middle, high = np.percentile([row[key] for row in rows], (25, 50, 75))
        parts.append(f"{key} {middle:.4g} ({low:.4g}..{high:.4g})")
    return "  ".join(parts)


if __name__ == "__main__":
    main()
