"""What made an image, kept in the image: written into the PNG, read again by `--from`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer

from rwgen.errors import ImageError, InvalidInputError
from rwgen.images import read_metadata
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import Recipe
from rwgen.version import __version__

METADATA_KEY = "rwgen"
"""Keyword of the PNG text chunk."""

FORMAT_VERSION = 1
"""Version of the JSON in that chunk."""


@dataclass(frozen=True)
class InputImage:
    """An image that a command reads.

    Attributes:
        role: what it is for, such as `content`.
        path: as it was given, `-` for standard input.
        sha256: fingerprint of the decoded pixels that it must have, None for any.
    """

    role: str
    path: str
    sha256: str | None = None


@dataclass(frozen=True)
class Provenance:
    """What an image was made from.

    Attributes:
        command: the command's name.
        inputs: the images read, in the command's order.
        options: the command's settings by parameter name.
        recipe: the network, whole, so that no recipe file is needed again.
    """

    command: str
    inputs: tuple[InputImage, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)

    def to_json(self) -> str:
        """One line of JSON for the PNG."""
        return json.dumps(
            {
                "format_version": FORMAT_VERSION,
                "rwgen_version": __version__,
                "command": self.command,
                "inputs": [vars(image) for image in self.inputs],
                "options": dict(self.options),
                "recipe": self.recipe.to_dict(),
            }
        )


def read_provenance(path: str, command: str) -> Provenance:
    """What a PNG says it was made from.

    Args:
        path: a PNG that rwgen wrote.
        command: the command that must have made it.

    Raises:
        InvalidInputError: the file cannot be read, says nothing, or another command made it.
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
            inputs=tuple(_input_image(image) for image in values["inputs"]),
            options=dict(values["options"]),
            recipe=Recipe.from_dict(values["recipe"]),
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


def _input_image(values: Any) -> InputImage:
    image = InputImage(**values)
    if not isinstance(image.path, str) or not image.path or "\0" in image.path:
        raise ValueError(f"an input image {image.path!r:.60}")
    return image


class Settings:
    """A command's options: those given, those of `--from`, and the defaults, in that order."""

    def __init__(self, context: typer.Context, source: Provenance | None) -> None:
        """Settings of one call.

        Args:
            context: the command's context.
            source: what `--from` named, None without it.
        """
        self.source = source
        self._context = context
        self._used: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The option whose parameter is called `name`; remembered for `used`."""
        value = self._context.params[name]
        if self.source is not None and not self.is_given(name):
            stored = self.source.options.get(name)
            value = value if stored is None else self._checked(name, stored)
        self._used[name] = value
        return value

    def _checked(self, name: str, value: Any) -> Any:
        """A stored option, held to what the command line accepts."""
        parameters = {item.name: item for item in self._context.command.params}
        try:
            return parameters[name].process_value(self._context, value)
        except typer.BadParameter as error:
            raise InvalidInputError(
                f"--from: expected an image with a usable setting {name}. "
                f"Received: {value!r:.60} ({error.message})"
            ) from None

    def is_given(self, name: str) -> bool:
        """Whether the option stands on the command line."""
        source = self._context.get_parameter_source(name)
        return source is not None and source.name == "COMMANDLINE"

    @property
    def used(self) -> dict[str, Any]:
        """The options that were read, for the provenance of the result."""
        return dict(self._used)

    def recipe(self) -> Recipe:
        """The network's recipe; `network` is its option."""
        if self.source is not None and not self.is_given("network"):
            self._used["network"] = self.source.options.get("network", "")
            return self.source.recipe
        return load_recipe(self["network"])

    def inputs(self, given: Sequence[tuple[str, str]]) -> tuple[InputImage, ...]:
        """The input images: those given as (role, path), else those of `--from`.

        Raises:
            InvalidInputError: standard input is named twice.
        """
        images = tuple(InputImage(role, path) for role, path in given)
        if not images and self.source is not None:
            images = tuple(image for image in self.source.inputs if image.role != "init")
        if sum(image.path == "-" for image in images) > 1:
            raise InvalidInputError("expected standard input (-) once. Received: - twice")
        return images
