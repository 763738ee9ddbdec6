"""`rwgen networks`: list the available networks."""

from __future__ import annotations

import json as json_module
from typing import Any

from rwgen.cli import options
from rwgen.network.lookup import load_recipe, network_names
from rwgen.network.recipe import IMAGENET, Recipe


def networks(json: options.Json = False) -> None:
    """List the networks that --network accepts by name."""
    recipes = [load_recipe(name) for name in (*network_names(), IMAGENET)]
    if json:
        print(json_module.dumps({"networks": [_entry(recipe) for recipe in recipes]}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("network", "width", "kernels", "biases", "pooling", "candidates"):
        table.add_column(heading)
    for recipe in recipes:
        entry = _entry(recipe)
        chosen = "-"
        if recipe.selection is not None:
            chosen = f"{entry['candidates']}, {len(entry['selected_layers'])} layers"
        positive = ", positive" if recipe.bias_distribution == "half_normal" else ""
        scaled = ", scaled" if recipe.kernel_scaling == "fan_in" else ""
        deviations = (f"{recipe.kernel_stddev:g}{scaled}", f"{recipe.bias_stddev:g}{positive}")
        if entry["trained"]:
            deviations = ("trained", "trained")
        pooling = "pyramid" if recipe.pyramid else recipe.pooling
        table.add_row(recipe.name, f"{entry['width']:g}", *deviations, pooling, chosen)
    Console().print(table)


def _entry(recipe: Recipe) -> dict[str, Any]:
    losses = recipe.selection.losses if recipe.selection else {}
    return {
        "name": recipe.name,
        "architecture": recipe.architecture,
        "width": recipe.width or 1,
        "blocks": [list(block) for block in recipe.topology.blocks],
        "kernel_size": recipe.kernel_size,
        "pyramid": recipe.pyramid,
        "pooling": recipe.pooling,
        "padding": recipe.padding,
        "kernel_stddev": recipe.kernel_stddev,
        "kernel_scaling": recipe.kernel_scaling,
        "bias_stddev": recipe.bias_stddev,
        "bias_distribution": recipe.bias_distribution,
        "seed": recipe.seed,
        "trained": recipe.weights is not None,
        "stacked": recipe.selection is not None,
        "selected_layers": list(losses),
        "candidates": max(map(len, losses.values()), default=1),
    }
