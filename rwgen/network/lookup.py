"""Networks by name or by file: the recipes in `savedmodels/` of the repository, and others."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from rwgen.errors import RecipeError
from rwgen.network.recipe import IMAGENET, Recipe

WEIGHTS_SUFFIXES = (".h5", ".keras")
"""How files end that hold weights themselves."""

_MAX_FILE_BYTES = 1 << 20  # a recipe is some KiB; a larger file is something else


def load_recipe(network: str) -> Recipe:
    """The recipe of a shipped network, the one in a file, or one for trained weights.

    Args:
        network: one of `network_names()`; `imagenet`; the path of a recipe, which ends in `.json`
            or holds a separator; or that of a file with weights, which ends in `.h5` or `.keras`
            (`rwgen.network.trained`).

    Returns:
        The recipe.

    Raises:
        RecipeError: there is no such network or file, or it is not a recipe.
    """
    if network in network_names():
        folder = resources.files("rwgen.savedmodels")
        return Recipe.from_json((folder / f"{network}.json").read_text(encoding="utf-8"))
    if network == IMAGENET:
        return Recipe(name=IMAGENET, kernel_stddev=0, bias_stddev=0, weights=IMAGENET)
    path = Path(network)
    if path.suffix in WEIGHTS_SUFFIXES:
        return _recipe_of_weights(path)
    if path.suffix != ".json" and path.name == network:
        raise RecipeError(
            f"expected a network ({', '.join(network_names())}, {IMAGENET}) or the path of a "
            f"recipe (.json) or of weights ({', '.join(WEIGHTS_SUFFIXES)}). Received: {network!r}"
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"expected a recipe that can be read. Received: {network!r} ({reason})"
        ) from None
    if len(data) > _MAX_FILE_BYTES:
        raise RecipeError(f"expected a recipe of at most 1 MiB. Received: {network!r}")
    try:
        return Recipe.from_json(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise RecipeError(f"expected a recipe in UTF-8. Received: {network!r}") from None
    except RecipeError as error:
        raise RecipeError(f"{network!r}: {error}") from None


def network_names() -> tuple[str, ...]:
    """Names of the shipped networks, sorted."""
    folder = resources.files("rwgen.savedmodels")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def _recipe_of_weights(path: Path) -> Recipe:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Recipe(
            name=path.name.partition(".")[0] or path.name,
            kernel_stddev=0,
            bias_stddev=0,
            weights=str(path),
            weights_file_sha256=digest,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"expected weights that can be read. Received: {str(path)!r} ({reason})"
        ) from None
