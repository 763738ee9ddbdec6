"""Write the shipped recipes without selected layers, with the fingerprints of all weights.

`rwgen build` writes the stacked recipe (savedmodels/README.md).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras

from rwgen import Recipe, build_network, weight_fingerprints
from rwgen.network.recipe import (
    DEFAULT_NETWORK,
    HALF_NORMAL_NETWORK,
    HALF_WIDTH_NETWORK,
    PYRAMID_NETWORK,
    ZERO_BIAS_NETWORK,
)

RECIPES = (
    Recipe(name=DEFAULT_NETWORK),
    Recipe(name=ZERO_BIAS_NETWORK, bias_stddev=0.0),
    Recipe(
        name=HALF_WIDTH_NETWORK,
        width=0.5,
        padding="symmetric",
        kernel_stddev=1.0,
        kernel_scaling="fan_in",
        bias_stddev=0.3,
    ),
    Recipe(
        name=PYRAMID_NETWORK,
        blocks=((128, 1),) * 5,
        kernel_size=7,
        pyramid=True,
        pooling="binomial",
        padding="symmetric",
        kernel_stddev=1.0,
        kernel_scaling="fan_in",
        bias_stddev=0.1,
    ),
    Recipe(name=HALF_NORMAL_NETWORK, bias_stddev=0.045, bias_distribution="half_normal"),
)

if __name__ == "__main__":
    for recipe in RECIPES:
        network = build_network(recipe, include_top=True)
        complete = dataclasses.replace(recipe, weights_sha256=weight_fingerprints(network))
        path = Path(__file__).with_name(f"{recipe.name}.json")
        path.write_text(complete.to_json(), encoding="utf-8")
        keras.backend.clear_session()
