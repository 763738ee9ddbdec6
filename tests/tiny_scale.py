"""A reproduction that takes seconds."""

import dataclasses

from rwgen.reproduction.scale import QUICK

TINY = dataclasses.replace(
    QUICK,
    name="tiny",
    size=32,
    iterations=3,
    layers=("conv1_1", "pool1"),
    dense_layers=(),
    pools=("pool1", "pool2"),
    further_photos=1,
    curve_layer="conv2_1",
    curve_iterations=4,
    snapshots=(1, 3),
    seeds=3,
    variation_size=32,
    variation_iterations=3,
    variation_layers=("pool1",),
    stack_layers=("conv1_1",),
    stack_size=32,
    stack_iterations=2,
    candidates=2,
    textures=1,
    texture_size=32,
    texture_iterations=2,
    style_layers=("conv1_1", "conv2_1"),
    paintings=1,
    scenes=1,
    style_size=32,
    style_iterations=2,
)
"""All figures at 32 pixels and a few iterations."""
