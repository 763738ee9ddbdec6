"""What an image was made from: stored in the PNG, and read by `--from`."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rwgen.errors import ImageError, InvalidInputError
from rwgen.images import read_metadata
from rwgen.network.recipe import IMAGENET, Recipe
from rwgen.version import __version__

METADATA_KEY = "rwgen"
"""Keyword of the PNG text chunk."""

FORMAT_VERSION = 1
"""Version of the JSON in this chunk."""

OPTION_OF = {"content_layers": "content_layer", "style_layers": "style_layer", "layers": "layer"}
"""Options, which may be repeated, whose names differ from those of the fields that they set."""


@dataclass(frozen=True)
class InputImage:
    """An input image of a command.

    Attributes:
        role: its role, such as `content`.
        path: path, `-` for standard input.
        sha256: expected fingerprint of its decoded pixels; None accepts any.
        origin: the image of `--from` that names it, or None if the command line does.
    """

    role: str
    path: str
    sha256: str | None = None
    origin: str | None = None

    @property
    def stem(self) -> str:
        """Its name without folder and suffix, to name results after it."""
        return "stdin" if self.path == "-" else Path(self.path).stem


@dataclass(frozen=True)
class Provenance:
    """What an image was made from.

    Attributes:
        command: name of the command.
        inputs: input images, in the command's order.
        options: settings of the command, by parameter name.
        recipe: the whole recipe of the network, so that its file is not needed again.
        complete: whether the search went on to its end; an interrupted one wrote its best image.
    """

    command: str
    inputs: tuple[InputImage, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    complete: bool = True

    def makes_the_same(self, other: Provenance) -> bool:
        """Whether both lead to the same image: equal pixels, settings and weights.

        Neither the folder of an input image matters nor the file of a recipe.
        """
        return self._identity() == other._identity()

    def _identity(self) -> tuple[Any, ...]:
        inputs = [(image.role, image.sha256) for image in self.inputs]
        paths = {"network"} | ({"init"} if "init" in dict(inputs) else set())
        options = {name: value for name, value in self.options.items() if name not in paths}
        # As in the file: JSON has lists only.
        return self.command, inputs, json.loads(json.dumps([options, self._recipe()]))

    def _recipe(self) -> dict[str, Any]:
        recipe = self.recipe.to_dict()
        if self.recipe.weights not in (None, IMAGENET):
            recipe["weights"] = str(Path(str(self.recipe.weights)).absolute())
        return recipe

    def to_json(self, output: str) -> str:
        """One line of JSON for the PNG.

        Paths of inputs are stored absolute and relative to the image, so that `--from` finds them
        from any folder, also after all files, or the image alone, were moved.

        Args:
            output: path of the image, or `-`.
        """
        return json.dumps(
            {
                "format_version": FORMAT_VERSION,
                "rwgen_version": __version__,
                "command": self.command,
                "inputs": [_stored(image, output) for image in self.inputs],
                "options": dict(self.options),
                "recipe": self._recipe(),
                "complete": self.complete,
            }
        )


def pixel_digest(pixels: NDArray[Any]) -> str:
    """Return the fingerprint of an image as it was read.

    Args:
        pixels: [height, width, 3], RGB in 0..255.
    """
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.astype("<f4").tobytes()).hexdigest()


def options_of(config: Any) -> dict[str, Any]:
    """Return the options that give the configuration of a task, by parameter name.

    Args:
        config: The configuration. Of its optimizer, only the iterations are an option.
    """
    options: dict[str, Any] = {"iterations": config.optimizer.max_iterations}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.name in OPTION_OF:
            options[OPTION_OF[item.name]] = list(value)
        elif item.name != "optimizer":
            listed = isinstance(value, tuple)
            options[item.name] = ",".join(map(str, value)) if listed else value
    return options


def read_provenance(path: str, command: str) -> Provenance:
    """Read what a PNG was made from.

    Args:
        path: a PNG that rwgen wrote.
        command: name of the command that must have made it.

    Raises:
        InvalidInputError: the file cannot be read, holds no settings, or was made by another
            command.
    """
    text = read_metadata(path).get(METADATA_KEY)
    if text is None:
        raise ImageError(f"--from: expected a PNG made by rwgen {command}. Received: {path}")
    try:
        values = json.loads(text)
        if values["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {values['format_version']!r}")
        found = Provenance(
            command=str(values["command"]),
            inputs=tuple(_input_image(image, path) for image in values["inputs"]),
            options=dict(values["options"]),
            recipe=Recipe.from_dict(values["recipe"]),
            complete=bool(values.get("complete", True)),  # earlier versions did not say
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ImageError(
            f"--from: expected settings that this rwgen understands in {path}. Received: {error}"
        ) from None
    if found.command != command:
        raise InvalidInputError(
            f"--from: expected an image made by rwgen {command}. "
            f"Received: {path}, made by rwgen {found.command}"
        )
    return found


def stored_provenance(path: str, command: str) -> Provenance | None:
    """What a file was made from, or None if it is no image that this command has made.

    Args:
        path: any file, which need not exist; `-` is none.
        command: name of the command.
    """
    if path == "-" or not Path(path).is_file():
        return None
    try:
        return read_provenance(path, command)
    except InvalidInputError:
        return None


def _stored(image: InputImage, output: str) -> dict[str, str | None]:
    path, relative = image.path, None
    if path != "-":
        path = os.path.normpath(Path(path).absolute())
        with contextlib.suppress(ValueError):  # on another drive
            relative = None if output == "-" else os.path.relpath(path, Path(output).parent)
    return {"role": image.role, "path": path, "relative": relative, "sha256": image.sha256}


def _input_image(values: Any, origin: str) -> InputImage:
    rest = dict(values)
    relative = rest.pop("relative", None)
    image = InputImage(**rest, origin=origin)
    for path in (image.path, relative or image.path):
        if not isinstance(path, str) or not path or "\0" in path:
            raise ValueError(f"an input image {path!r:.60}")
    beside = Path(origin).parent / (relative or "")
    return replace(image, path=os.path.normpath(beside)) if beside.is_file() else image
