"""Turns functions of image tasks into commands, whose options come from dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from rwgen.cli.image_task import Config, ImageCall, Settings, is_given
from rwgen.cli.inputs import IMAGE_SUFFIXES, is_folder
from rwgen.cli.options import RunOptions
from rwgen.cli.outcome import Outcome
from rwgen.cli.profile import profiling
from rwgen.errors import InvalidInputError

PANELS = {
    "Look": (
        "preset",
        "tileable",
        "source_blend",
        "inpaint",
        "style_blend",
        "style_scale",
        "init",
        "colors",
        "content_mask",
        "style_mask",
        "octaves",
        "content_layer",
        "style_layer",
    ),
    "Running": tuple(field.name for field in dataclasses.fields(RunOptions)),
    "Research": (
        "paper",
        "network",
        "network_seed",
        "weighting",
        "margin",
        "parameterization",
        "precision",
        "shift_features",
        "whiten_gram",
        "unit_activations",
    ),
}
"""Panels of `--help` and their options; everyday options have none and come first."""


def image_command(
    settings: type[Settings], config: type[Config], output: Any
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Turn a function of an `ImageCall` and its arguments into a Typer command.

    The command's parameters are the function's own arguments, `output`, the fields of `settings`
    and those of `RunOptions`; their annotations carry Typer's declarations.

    Args:
        settings: a frozen dataclass: the options that decide the image, and are stored in it.
        config: class of the task's configuration.
        output: annotation of the option `output`.

    Returns:
        A decorator.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        hints = get_type_hints(function, include_extras=True)
        arguments = list(inspect.signature(function).parameters.values())[1:]
        parameters = [_parameter("context", typer.Context)]
        parameters += [_parameter(item.name, hints[item.name], item.default) for item in arguments]
        parameters.append(_parameter("output", output, ""))
        for group in (settings, RunOptions):
            hints = get_type_hints(group, include_extras=True)
            for field in dataclasses.fields(group):  # type: ignore[arg-type]
                parameters.append(_parameter(field.name, hints[field.name], field.default))
        parameters.sort(key=_place_in_help)

        def command(context: typer.Context, output: str, **values: Any) -> int:
            own = {item.name: values[item.name] for item in arguments}
            if _has_folder(own):
                return _run_many(context, output, Path(output))
            if values["variations"] > 1 and context.find_object(Outcome) is None:
                return _run_many(context, output, None)
            run = {name: values[name] for name in PANELS["Running"]}
            with profiling(run["profile"]):
                call = ImageCall(context, output, settings, config, RunOptions(**run))
                return function(call, **own)

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__annotations__ = {item.name: item.annotation for item in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _has_folder(arguments: Mapping[str, Any]) -> bool:
    places: list[str] = []
    for value in arguments.values():
        places += [value] if isinstance(value, str) else value or ()
    return any(map(is_folder, places))


def _run_many(context: typer.Context, output: str, folder: Path | None) -> int:
    """Make an image of every image in a folder, of every pair, or for every seed.

    Args:
        context: the command's context.
        output: the option.
        folder: where to write them, if an input is a folder.
    """
    from rwgen.cli import batch
    from rwgen.cli.jobs import Row

    if folder is not None and (not output or folder.suffix.lower() in IMAGE_SUFFIXES):
        raise InvalidInputError(
            "--output: expected a folder, as an input is one. "
            f"Received: {repr(output) if output else 'none'}"
        )
    name, apart = str(context.info_name), {"config", *batch.SWITCHES}
    if folder is not None:
        apart.add("output")
    given = {key: value for key, value in context.params.items() if is_given(context, key)}
    rest = {key: value for key, value in given.items() if key not in apart}
    how = batch.How(**{switch: context.params[switch] for switch in batch.SWITCHES})
    return batch.run_rows([Row(name, name, rest)], folder or Path(), how)


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> Any:
    """A parameter of a command; its option is in the panel of its name unless it has its own."""
    panel = next((panel for panel, names in PANELS.items() if name in names), None)
    if panel is not None:
        kind, option = get_args(annotation)
        option = copy.copy(option)  # other commands share it
        option.rich_help_panel = panel
        annotation = Annotated[kind, option]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=annotation)


def _place_in_help(parameter: inspect.Parameter) -> int:
    """Place of a parameter's panel; arguments and everyday options come first."""
    _, *declarations = get_args(parameter.annotation) or (None,)
    panel = declarations[0].rich_help_panel if declarations else None
    return [None, *PANELS].index(panel)
