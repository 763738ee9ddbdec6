"""The commands of `rwgen`, each of which is imported when it is called."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from rwgen.cli.help import Command

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}
"""Settings of the program and of every command."""

COMMANDS = {
    "style": ("style", "Render the content of one image in the style of others."),
    "texture": ("texture", "Synthesize a texture like that of an image, of any size."),
    "invert": ("invert", "Reconstruct an image from the features of a layer, or of several."),
    "morph": (
        "morph",
        "Turn one image into another through the features of a layer, as an animation.",
    ),
    "batch": (
        "batch",
        "Make many images from a list of jobs. The same command does what is left.",
    ),
    "evaluate": (
        "evaluate",
        "Judge textures (--source) or stylized images (--content, --style), alongside baselines.",
    ),
    "probe": (
        "probe",
        "Draw the weights of architectures, invert a photo from their layers, and rank them.",
    ),
    "layers": (
        "layers",
        "List the layers of a network with output shapes and numbers of parameters.",
    ),
    "build": (
        "build",
        "Select, layer by layer, the random weights that retain most of an image.",
    ),
    "doctor": (
        "doctor",
        "Show versions, devices and memory, and say what makes a search slow here.",
    ),
    "networks": ("networks", "List the networks that --network accepts by name."),
    "export": (
        "export",
        "Export a network as a SavedModel, for TF Serving and other runtimes.",
    ),
    "inspect": ("export", "Describe an export, and check that its files are unchanged."),
    "features": ("features", "Compute features of images, in this process or on a server."),
    "serve": ("serve", "Serve exported models over TF Serving's REST and gRPC interfaces."),
    "studio": ("studio", "Open a page to drop two images on, and to try settings."),
    "reproduce": (
        "reproduce",
        "Reproduce the paper's figures, with a page that reports which of its claims hold.",
    ),
}
"""Module of each command in `rwgen.cli`, and what `rwgen --help` says about it: the first line of
the command's own help."""


class CommandGroup(TyperGroup):
    """A group that knows its commands by name and imports them when they are called.

    The modules of all commands together take longer to import than most of them take to run.
    """

    def __init__(self, **attributes: Any) -> None:
        """Create the group with a summary of every command."""
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, short_help=summary, help=summary))

    def resolve_command(self, context: Any, arguments: list[str]) -> Any:
        """Find the command that is called, and import it."""
        name, command, rest = super().resolve_command(context, arguments)
        return name, load_command(name) if command is not None else None, rest


def load_command(name: str | None) -> Any:
    """Import a command. Its module may have a class for it, `COMMAND`.

    Args:
        name: a key of `COMMANDS`.

    Returns:
        A `typer.core.TyperCommand`.
    """
    module = importlib.import_module(f"rwgen.cli.{COMMANDS[str(name)][0]}")
    kind = getattr(module, "COMMAND", Command)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, cls=kind, context_settings=CONTEXT_SETTINGS)(getattr(module, str(name)))
    return typer.main.get_command(single)
