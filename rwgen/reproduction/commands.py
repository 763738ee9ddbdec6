"""Shell commands that make what a figure shows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from rwgen.files import atomic_write
from rwgen.network.lookup import load_recipe, network_names
from rwgen.network.recipe import Recipe
from rwgen.reproduction.parts import Inversion, Part, Stack, Texture
from rwgen.reproduction.setting import Parts, Setting
from rwgen.reproduction.store import Store


def reproduce_command(
    store: Store, setting: Setting, figures: Sequence[int], images: str | None
) -> str:
    """Return the `rwgen reproduce` command for figures, with every option that affects them."""
    words = ["rwgen", "reproduce", *map(str, figures), "-o", str(store.folder)]
    words += ["--scale", setting.scale.name]
    words += ["--images", images] if images else []
    words += ["--trained", setting.trained] if setting.trained else []
    return shlex.join(words)


def part_commands(store: Store, setting: Setting, parts: Parts) -> dict[str, str]:
    """Return the command of each part by the part's name, stacks before what needs them.

    Recipes that are not shipped are written to the folder `networks`.

    Raises:
        OutputError: a recipe cannot be written.
    """
    stacks, images = {}, {}
    for name, part in parts.items():
        network = part.network
        if isinstance(network, Stack):
            name_of_stack = f"stack-{network.seed}"
            argument = str(store.folder / "networks" / f"{name_of_stack}.json")
            base = _argument(store, setting, network.base)
            stacks[name_of_stack] = part_command(network, base, argument)
        else:
            argument = _argument(store, setting, network)
        images[name] = part_command(part, argument, f"{name}.png")
    return {**stacks, **images}


def part_command(part: Part, network: str, output: str) -> str:
    """Return the command that makes a part.

    Args:
        part: part to make.
        network: name or file of its network; of the base for a stack.
        output: file to write: an image, or a recipe for a stack.
    """
    side = part.pictures[0].side
    inputs = [str(picture.path) for picture in part.pictures]
    options: dict[str, Any]
    if isinstance(part, Stack):
        (reference,), inputs = inputs, []
        options = {
            "reference": reference,
            "network": network,
            "size": side,
            "layers": ",".join(part.layers),
            "candidates": part.candidates,
        }
    else:
        options = {"network": network, "size": side}
        if isinstance(part, Inversion):
            options = {"layer": part.layer, **options}
        elif isinstance(part, Texture):
            options = {"layer": part.layers, "source-size": side, **options}
        else:
            layers = {"content": part.config.content_layers, "style": part.config.style_layers}
            options |= {f"{name}-layer": values for name, values in layers.items()}
    words = ["rwgen", "build" if isinstance(part, Stack) else part.kind, *inputs]
    options |= {"iterations": part.iterations, "seed": part.seed}
    for option, value in options.items():
        for item in value if isinstance(value, tuple) else (value,):
            words += [f"--{option}", str(item)]
    return shlex.join([*words, "-o", output])


def _argument(store: Store, setting: Setting, recipe: Recipe) -> str:
    """Return the `--network` argument for a recipe."""
    if recipe == setting.trained_recipe:
        return str(setting.trained)
    if recipe.name in network_names() and load_recipe(recipe.name) == recipe:
        return recipe.name
    path = store.folder / "networks" / f"{recipe.name}.json"
    path.parent.mkdir(exist_ok=True)
    atomic_write(path, recipe.to_json().encode())
    return str(path)
