"""Networks by name or file name: shipped recipes (`savedmodels/`), recipe and weight files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from importlib import resources
from io import BufferedReader
from pathlib import Path

from rwgen.errors import RecipeError
from rwgen.network.recipe import IMAGENET, Recipe

WEIGHTS_SUFFIXES = (".h5", ".keras")
"""Suffixes of files with trained weights."""

_MAX_FILE_BYTES = 1 << 20  # recipes take a few KiB


def load_recipe(network: str) -> Recipe:
    """Return the recipe of a network given by name or file name.

    Args:
        network: One of `network_names()`; `imagenet`; the path of a recipe, which ends in `.json`
            or contains a separator; or the path of a file with trained weights, which ends in
            `.h5` or `.keras` (`rwgen.network.trained`).

    Returns:
        The recipe.

    Raises:
        RecipeError: There is no such network or file, or the file is not a recipe.
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
    with _opened(path, "a recipe") as file:
        data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise RecipeError(f"expected a recipe of at most 1 MiB. Received: {network!r}")
    try:
        return Recipe.from_json(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise RecipeError(f"expected a recipe in UTF-8. Received: {network!r}") from None
    except RecipeError as error:
        raise RecipeError(f"{network!r}: {error}") from None


def network_names() -> tuple[str, ...]:
    """Return the names of the shipped networks, sorted."""
    folder = resources.files("rwgen.savedmodels")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def _recipe_of_weights(path: Path) -> Recipe:
    with _opened(path, "weights") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Recipe(
        name=path.name.partition(".")[0] or path.name,
        kernel_stddev=0,
        bias_stddev=0,
        weights=str(path),
        weights_file_sha256=digest,
    )


@contextlib.contextmanager
def _opened(path: Path, what: str) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"expected {what} that can be read. Received: {str(path)!r} ({reason})"
        ) from None
