"""What `rwgen style`, `texture` and `invert` share, from the command line to the written image."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Protocol,
    TypeVar,
    get_args,
    get_type_hints,
)

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.cli import resources
from rwgen.cli.existing import check_new
from rwgen.cli.inputs import load_input, print_notes, size_notes
from rwgen.cli.options import RunOptions, split_layers
from rwgen.cli.profile import profiling
from rwgen.cli.session import Outputs, open_checkpoint, run_task
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.compute.memory import architecture_workload
from rwgen.errors import InvalidInputError
from rwgen.network.architecture import Architecture
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import Recipe
from rwgen.optimize.config import OptimizerConfig
from rwgen.phases import phase
from rwgen.provenance import OPTION_OF, InputImage, Provenance, read_provenance
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig

if TYPE_CHECKING:
    from rwgen.optimize.solution import Callback, Solution


class ImageSettings(Protocol):
    """What the settings of every image command have."""

    @property
    def network(self) -> str:
        """A shipped network, or a file."""

    @property
    def iterations(self) -> int:
        """Maximum number of iterations."""

    @property
    def paper(self) -> bool:
        """Whether the paper's settings are the defaults."""

    @property
    def unit_activations(self) -> bool:
        """Whether to rescale the network's weights."""


Settings = TypeVar("Settings", bound=ImageSettings)
Config = TypeVar("Config", InversionConfig, StyleConfig, TextureConfig)

PANELS = {
    "Look": ("style_blend", "init", "match_colors", "octaves", "content_layer", "style_layer"),
    "Running": tuple(field.name for field in dataclasses.fields(RunOptions)),
    "Research": (
        "paper",
        "network",
        "weighting",
        "parameterization",
        "precision",
        "shift_features",
        "whiten_gram",
        "unit_activations",
    ),
}
"""Panels of `--help` and their options; everyday options have none and come first."""


@dataclass(frozen=True)
class TaskInput:
    """An input image at the size that the task takes it.

    Attributes:
        image: where it came from, with its fingerprint.
        pixels: [height, width, 3], RGB in 0..255, as read.
        size: (height, width) that the task takes it at.
    """

    image: InputImage
    pixels: NDArray[np.float32]
    size: tuple[int, int]


class ImageCall(Generic[Settings, Config]):
    """One call of an image command: its settings, where it runs and what it writes."""

    def __init__(
        self,
        context: typer.Context,
        output: str,
        settings: type[Settings],
        config: type[Config],
        run: RunOptions,
    ) -> None:
        """Merge the options given with those of `--from`, and check destinations.

        Args:
            context: the command's context.
            output: the image file to write, or `-`.
            settings: class of the options that decide the image.
            config: class of the task's configuration.
            run: the options that do not.

        Raises:
            InvalidInputError: an option is invalid.
        """
        command = str(context.info_name)
        self._context = context
        self._source = read_provenance(run.from_image, command) if run.from_image else None
        self._command = command
        self._kind: type[Config] = config
        self._literal = _paper_options(config) if context.params["paper"] else {}
        self.settings: Settings = settings(
            **{field.name: self._setting(field.name) for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
        )
        self.notes: list[str] = []  # what a user may not expect, to print before the work begins
        self.options = run
        shared = {field.name for field in dataclasses.fields(Outputs)} & set(vars(run))
        self._outputs = Outputs(output, **{name: getattr(run, name) for name in shared})
        self._is_named = self.is_given("output")
        self._limit = resources.memory_limit(run.memory_limit, run.device)

    def _setting(self, name: str) -> Any:
        """The option given, else that of `--paper`, else of `--from`, else the default."""
        value = self._context.params[name]
        if self.is_given(name):
            return value
        if name in self._literal:
            return self._literal[name]
        if self._source is None:
            return value
        stored = self._source.options.get(name)
        if stored is None:
            return value
        parameters: dict[str | None, Any] = {
            item.name: item for item in self._context.command.params
        }
        if parameters[name].multiple and isinstance(stored, str):  # of an earlier version
            stored = [stored]
        try:
            return parameters[name].process_value(self._context, stored)
        except typer.BadParameter as error:
            raise InvalidInputError(
                f"--from: expected an image with a usable setting {name}. "
                f"Received: {stored!r:.60} ({error.message})"
            ) from None

    def is_given(self, name: str) -> bool:
        """Whether an option is on the command line."""
        source = self._context.get_parameter_source(name)
        return source is not None and source.name == "COMMANDLINE"

    @property
    def output(self) -> str | None:
        """The file to write, or None if none was given."""
        return self._outputs.image if self._is_named else None

    def inputs(self, *given: tuple[str, str | None]) -> tuple[InputImage, ...]:
        """The input images: those given as (role, path), else those of `--from`.

        Raises:
            InvalidInputError: standard input is named twice.
        """
        images = tuple(InputImage(role, path) for role, path in given if path is not None)
        if not images and self._source is not None:
            images = tuple(image for image in self._source.inputs if image.role != "init")
        if sum(image.path == "-" for image in images) > 1:
            raise InvalidInputError("expected standard input (-) once. Received: - twice")
        return images

    def init_image(self, init: str) -> InputImage | None:
        """The image that the search starts from, or None if it starts from noise or the content.

        Args:
            init: `noise`, `content` or a path.
        """
        if init in ("noise", "content"):
            return None
        stored = self._source.inputs if self._source and not self.is_given("init") else ()
        return next((image for image in stored if image.role == "init"), InputImage("init", init))

    def check_outputs(self, images: Sequence[InputImage], name: str) -> None:
        """Find out before any work whether everything can be written.

        Args:
            images: the inputs.
            name: file to write the image to without `--output`.

        Raises:
            InvalidInputError: a destination is unusable, or would replace an input.
        """
        if not self._is_named:
            self._outputs = dataclasses.replace(self._outputs, image=name)
        self._outputs.check(tuple(image.path for image in images), self.options.checkpoint)

    def recipe(self) -> Recipe:
        """The network's recipe: of the option `network`, of `--paper`, or else of `--from`.

        Raises:
            RecipeError: the network is unknown, or its recipe is invalid.
        """
        chosen = self.is_given("network") or "network" in self._literal
        if self._source is not None and not chosen:
            return self._source.recipe
        return load_recipe(self.settings.network)

    def config(self, recipe: Recipe, **values: Any) -> Config:
        """The configuration of the task: every field that is an option is set from it.

        Args:
            recipe: the network's.
            **values: fields that are not set from the option of their name.

        Raises:
            InvalidInputError: a field is out of range.
        """
        options = vars(self.settings)
        for field in dataclasses.fields(self._kind):
            name = OPTION_OF.get(field.name, field.name)
            if name not in options or field.name in values:
                continue
            if name == field.name:
                values[name] = options[name]
            elif options[name]:  # a list, empty for the default
                values[field.name] = split_layers(options[name])
        values["network"] = recipe.name
        values["optimizer"] = OptimizerConfig(max_iterations=self.settings.iterations)
        make: Callable[..., Config] = self._kind.paper if self.settings.paper else self._kind
        return make(**values)

    def plan_resources(
        self,
        recipe: Recipe,
        config: InversionConfig | StyleConfig | TextureConfig,
        *,
        size: tuple[int, int],
        target_sizes: Sequence[tuple[int, int]],
        layers: Sequence[str],
        content_layers: Sequence[str] = (),
    ) -> None:
        """Refuse a task that does not fit into memory, before TensorFlow is imported.

        Args:
            recipe: the network's.
            config: the task's.
            size: (height, width) of the result.
            target_sizes: (height, width) of each image that features are taken from.
            layers: every layer that the task reads.
            content_layers: layers whose target features are kept during the search.

        Raises:
            MemoryLimitError: the task does not fit.
        """
        work = architecture_workload(
            recipe.topology,
            layers,
            size=size,
            targets=target_sizes,
            content_layers=content_layers,
            optimizer=config.optimizer,
            propagate_differences=getattr(config, "propagate_differences", False),
        )
        resources.plan_resources(work, self._limit, self.options.quiet)

    def run(
        self,
        inputs: Sequence[InputImage],
        recipe: Recipe,
        layers: Sequence[str],
        task: Callable[..., Solution],
        *,
        max_iterations: int,
        rescale_to: Sequence[NDArray[Any]],
        summary: Callable[[Solution, NDArray[np.uint8]], dict[str, Any]] | None = None,
    ) -> int:
        """Run a task of the library and write its image.

        Args:
            inputs: every image read, with its fingerprint.
            recipe: the network's.
            layers: every layer that the task reads.
            task: called with `network`, `callback`, `checkpoint` and `memory_limit`.
            max_iterations: of the task, for progress.
            rescale_to: images whose mean activations `--unit-activations` makes one.
            summary: further values for the JSON object, from the solution and the written pixels.

        Returns:
            The exit code.

        Raises:
            RwgenError: the task was refused or failed, or a result could not be written.
        """
        options = self.options
        provenance = Provenance(self._command, tuple(inputs), dict(vars(self.settings)), recipe)
        checkpoint = open_checkpoint(options.checkpoint, options.checkpoint_every, provenance)
        if not options.force and not (checkpoint is not None and checkpoint.is_saved):
            # A run that is resumed replaces its own files.
            self._outputs.check_new(options.from_image)
            check_new("--profile", options.profile, force=False)
        print_notes(self.notes, options.quiet)
        if not self._is_named and not options.quiet:
            say(f"no --output given; writing {self._outputs.image}")

        with native_stderr_hidden():
            with phase("import TensorFlow"):
                import rwgen.synthesis.tasks  # noqa: F401 # the task imports it anyway
                from rwgen.network.unit_activations import unit_activations
                from rwgen.network.vgg import build_network

            with resources.on_device(options.device), phase("weights"):
                network = build_network(recipe, recipe.topology.deepest(layers).name)
                if self.settings.unit_activations:
                    network = unit_activations(network, rescale_to)

        def on_device(callback: Callback) -> Solution:
            with resources.on_device(options.device):
                return task(
                    network=network,
                    callback=callback,
                    checkpoint=checkpoint,
                    memory_limit=self._limit,
                )

        return run_task(on_device, self._outputs, provenance, max_iterations, summary, checkpoint)


def load_inputs(
    images: Sequence[InputImage],
    size_of: Callable[[tuple[int, int]], tuple[int, int]],
    notes: list[str],
) -> list[TaskInput]:
    """Read input images.

    Args:
        images: which ones.
        size_of: maps (height, width) of an image to the size that the task takes it at.
        notes: receives a line for each change of an image that a user may not expect.

    Raises:
        ImageError: an image cannot be read.
        InvalidInputError: an image is not the one that `--from` names.
    """
    loaded = []
    for image in images:
        with phase("read images"):
            image, pixels = load_input(image, notes)
        size = size_of((pixels.shape[0], pixels.shape[1]))
        notes += size_notes(image.path, pixels.shape, size)
        loaded.append(TaskInput(image, pixels, size))
    return loaded


def check_spatial(topology: Architecture, layers: Sequence[str], expected: str) -> None:
    """Refuse dense layers, which have no positions.

    Args:
        topology: the network's.
        layers: layer names.
        expected: start of the message, up to the received layer.

    Raises:
        InvalidInputError: one of the layers is dense.
        LayerError: a layer is unknown.
    """
    deepest = topology.deepest(layers)
    if deepest.kind == "dense":
        raise InvalidInputError(f"{expected}. Received: {deepest.name}")


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
            run = {name: values[name] for name in PANELS["Running"]}
            with profiling(run["profile"]):
                call = ImageCall(context, output, settings, config, RunOptions(**run))
                return function(call, **own)

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__annotations__ = {item.name: item.annotation for item in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _paper_options(config: type[InversionConfig | StyleConfig | TextureConfig]) -> dict[str, Any]:
    """Options that `--paper` sets, with the paper's values."""
    return {
        OPTION_OF.get(name, name): list(value) if isinstance(value, tuple) else value
        for name, value in config.PAPER.items()
    }


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
