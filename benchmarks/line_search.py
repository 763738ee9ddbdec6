"""Evaluations, seconds and loss of the two line searches, at equal iterations.

For each task and seed both run from the same start on the same objective, one after the other in
one process. Ratios are `wolfe_first` over `hager_zhang` (plain `tfp.optimizer.lbfgs_minimize`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from record import write_record

from rwgen import (
    InversionConfig,
    OptimizerConfig,
    Solution,
    StyleConfig,
    TextureConfig,
    build_network,
    invert,
    load_recipe,
    read_image,
    resize_image,
    synthesize_texture,
    transfer_style,
)
from rwgen.network.recipe import DEFAULT_NETWORK

TASKS = ("invert conv3_1", "invert conv5_1", "texture", "style")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    content, style = (
        resize_image(read_image(path), options.size, options.size)
        for path in (options.content, options.style)
    )
    networks = {
        "invert": build_network(load_recipe(DEFAULT_NETWORK), "conv5_1"),
        "others": build_network(load_recipe(StyleConfig().network), "conv5_1"),
    }

    def solve(task: str, seed: int, optimizer: OptimizerConfig) -> Solution:
        if task == "style":
            config = StyleConfig(seed=seed, octaves=0, optimizer=optimizer)
            return transfer_style(content, [style], network=networks["others"], config=config)
        if task == "texture":
            settings = TextureConfig(seed=seed, octaves=0, optimizer=optimizer)
            return synthesize_texture(style, network=networks["others"], config=settings)
        choice = InversionConfig(whiten_features=False, seed=seed, optimizer=optimizer)
        return invert(content, task.split()[1], network=networks["invert"], config=choice)

    results = []
    for task in TASKS:
        for seed in range(options.seeds):
            pair = {}
            for line_search in ("hager_zhang", "wolfe_first"):
                optimizer = OptimizerConfig(
                    max_iterations=options.iterations, line_search=line_search
                )
                solution = solve(task, seed, optimizer)
                first = solution.history[1].seconds  # the first iteration holds all compilation
                pair[line_search] = {
                    "iterations": solution.iterations,
                    "evaluations": solution.evaluations,
                    "seconds": solution.seconds - first,
                    "loss": solution.loss / solution.initial_loss,
                    "stop_reason": solution.stop_reason,
                }
            results.append({"task": task, "seed": seed, **pair})
        rows = [result for result in results if result["task"] == task]
        line = [task]
        for key in ("evaluations", "seconds", "loss"):
            ratios = [row["wolfe_first"][key] / row["hager_zhang"][key] for row in rows]
            low, middle, high = np.percentile(ratios, (0, 50, 100))
            line.append(f"{key} {middle:.2f} ({low:.2f}..{high:.2f})")
        each = [
            row["wolfe_first"]["evaluations"] / row["wolfe_first"]["iterations"] for row in rows
        ]
        line.append(f"evaluations an iteration {np.median(each):.2f}")
        print("  ".join(line), flush=True)
    settings = {"size": options.size, "iterations": options.iterations, "seeds": options.seeds}
    write_record(options.output, {"settings": settings, "results": results})


if __name__ == "__main__":
    main()
