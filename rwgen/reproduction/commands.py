"""The commands of the shell that make what a figure shows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rwgen.files import atomic_write
from rwgen.network.lookup import load_recipe, network_names
from rwgen.network.recipe import Recipe
from rwgen.reproduction.parts import Stack
from rwgen.reproduction.setting import Parts, Setting
from rwgen.reproduction.store import Store


def reproduce_command(
    store: Store, setting: Setting, figures: Sequence[int], images: str | None
) -> str:
    """The call that makes figures, with everything that decides them."""
    words = ["rwgen", "reproduce", *map(str, figures), "-o", str(store.folder)]
    words += ["--scale", setting.scale.name]
    words += ["--images", images] if images else []
    words += ["--trained", setting.trained] if setting.trained else []
    return shlex.join(words)


def part_commands(store: Store, setting: Setting, parts: Parts) -> dict[str, str]:
    """The command of each part by the part's name; the stacks that parts need come first.

    Recipes that have no other name are written to the folder `networks`.

    Raises:
        OutputError: a recipe cannot be written.
    """
    commands = {}
    for name, part in parts.items():
        network = part.network
        if isinstance(network, Stack):
            name_of_stack = f"stack-{network.seed}"
            argument = str(store.folder / "networks" / f"{name_of_stack}.json")
            base = _argument(store, setting, network.base)
            commands[name_of_stack] = network.command(base, argument)
        else:
            argument = _argument(store, setting, network)
        commands[name] = part.command(argument, f"{name}.png")
    return dict(sorted(commands.items(), key=lambda item: not item[0].startswith("stack-")))


def _argument(store: Store, setting: Setting, recipe: Recipe) -> str:
    """What `--network` takes for a recipe."""
    if recipe == setting.trained_recipe:
        return str(setting.trained)
    if recipe.name in network_names() and load_recipe(recipe.name) == recipe:
        return recipe.name
    path = store.folder / "networks" / f"{recipe.name}.json"
    path.parent.mkdir(exist_ok=True)
    atomic_write(path, recipe.to_json().encode())
    return str(path)
