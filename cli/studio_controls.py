"""Controls of `rwgen studio`: the options of `rwgen style`, without those that need a shell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

import typer

from rwgen.cli.image_command import PANELS
from rwgen.cli.options import parse_numbers, split_layers
from rwgen.cli.style import StyleSettings
from rwgen.network.lookup import network_names
from rwgen.provenance import OPTION_OF
from rwgen.synthesis.config import StyleConfig

MAX_SIDE = 2048
"""Longest side, in pixels, that the page offers; the command has no such limit."""

NOT_OFFERED = (
    *("style_blend", "preset", "paper", "content_mask", "style_mask"),
    *("network_seed", "unit_activations"),
)
"""Options of several styles, of other defaults, of further files, and of other weights."""


@dataclass(frozen=True)
class Control:
    """One option as a person sets it on a page.

    Attributes:
        name: of the option.
        kind: what it takes: a number, a whole number, one of `choices`, yes or no, or text.
        default: its value if nobody changes it.
        text: what it does.
        panel: the part of the page that it belongs to, empty for everyday options.
        least: smallest number, or None.
        most: largest number, or None.
        choices: values of a choice.
    """

    name: str
    kind: Literal["number", "whole", "choice", "switch", "text"]
    default: Any
    text: str
    panel: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ").capitalize().replace("Tv ", "TV ")


def style_controls() -> list[Control]:
    """The controls of a style transfer, everyday ones first, then panel by panel."""
    hints = get_type_hints(StyleSettings, include_extras=True)
    found = [
        _control(field.name, hints[field.name], field.default)
        for field in dataclasses.fields(StyleSettings)
        if field.name not in NOT_OFFERED
    ]
    order = ["", *PANELS]
    return sorted(found, key=lambda control: order.index(control.panel))


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `rwgen.stylize` from the values of controls, by name.

    Raises:
        InvalidInputError: a list of numbers has another form.
    """
    settings: dict[str, Any] = {"size": int(values["size"])}
    settings["iterations"] = int(values["iterations"])
    for field in dataclasses.fields(StyleConfig):
        name = OPTION_OF.get(field.name, field.name)
        value = values.get(name)
        if value in (None, "", []):
            continue
        if name != field.name:
            value = split_layers([value])
        elif isinstance(getattr(StyleConfig, field.name, None), tuple):
            value = parse_numbers(f"--{name.replace('_', '-')}", value)
        settings[field.name] = value
    return settings


def _control(name: str, annotation: Any, default: Any) -> Control:
    """The control of an option, as Typer declares it."""
    kind, option = get_args(annotation)
    assert isinstance(option, typer.models.OptionInfo)
    panel = next((panel for panel, names in PANELS.items() if name in names), "")
    words = (option.metavar or "").split("|")
    choices = tuple(word for word in words if word.islower()) if len(words) > 1 else ()
    if name == "network":
        choices = network_names()
    control = Control(
        name,
        "text",
        default,
        str(option.help),
        panel,
        option.min,
        MAX_SIDE if name == "size" else option.max,
    )
    takes = {item for item in (kind, *get_args(kind)) if isinstance(item, type)}
    if bool in takes:
        return dataclasses.replace(control, kind="switch")
    if choices:
        return dataclasses.replace(control, kind="choice", choices=choices)
    if int in takes:
        return dataclasses.replace(control, kind="whole")
    if float in takes:
        return dataclasses.replace(control, kind="number")
    shown = option.show_default if isinstance(option.show_default, str) else ""
    text = f"{control.text} Default: {shown}." if shown else control.text
    return dataclasses.replace(control, default=default or "", text=text)
