"""What `rwgen style`, `texture` and `invert` share, from the command line to the written image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Protocol,
    TypeVar,
)

import numpy as np
import typer
from numpy.typing import NDArray

from rwgen.cli import resources
from rwgen.cli.existing import check_new
from rwgen.cli.inputs import (
    is_folder,
    load_input_and_alpha,
    print_notes,
    size_notes,
)
from rwgen.cli.options import RunOptions, split_layers
from rwgen.cli.outcome import Outcome
from rwgen.cli.session import Outputs, open_checkpoint, run_task
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.compute.memory import architecture_workload
from rwgen.errors import InvalidInputError
from rwgen.images import stores_alpha
from rwgen.network.architecture import Architecture
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import Recipe
from rwgen.optimize.config import OptimizerConfig
from rwgen.phases import phase
from rwgen.provenance import OPTION_OF, InputImage, Provenance, read_provenance, stored_provenance
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig

if TYPE_CHECKING:
    from rwgen.optimize.solution import Callback, Solution


class ImageSettings(Protocol):
    """What the settings of every image command have."""

    @property
    def network(self) -> str:
        """A shipped network, or a file."""

    @property
    def seed(self) -> int:
        """Seed of the noise."""

    @property
    def network_seed(self) -> int | None:
        """Seed to draw its weights from; None for its own."""

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

EXTRA_ROLES = ("init", "content_mask", "style_mask", "inpaint")
"""Roles of input images that options name, not arguments."""


@dataclass(frozen=True)
class TaskInput:
    """An input image at the size that the task takes it.

    Attributes:
        image: where it came from, with its fingerprint.
        pixels: [height, width, 3], RGB in 0..255, as read.
        size: (height, width) that the task takes it at.
        alpha: [height, width] in 0..255, as read; None if it is opaque. Pixels are blended with
            white.
    """

    image: InputImage
    pixels: NDArray[np.float32]
    size: tuple[int, int]
    alpha: NDArray[np.float32] | None = None


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
        self._outcome = context.find_object(Outcome) or Outcome()
        self._source = read_provenance(run.from_image, command) if run.from_image else None
        self._command = command
        self._kind: type[Config] = config
        self._literal = _group_options(
            config, context.params["paper"], context.params.get("preset", "")
        )
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
        """The option given, else of `--paper` or `--preset`, else of `--from`, else the default."""
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
        """Whether an option is on the command line, in a file of options, or in a job."""
        return is_given(self._context, name)

    def set_defaults(self, **values: Any) -> None:
        """Set options that are neither given nor those of `--paper` or `--from`."""
        if self._source is None:
            ours = {
                name: value
                for name, value in values.items()
                if not self.is_given(name) and name not in self._literal
            }
            self.settings = dataclasses.replace(self.settings, **ours)  # type: ignore[type-var]

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
            images = tuple(image for image in self._source.inputs if image.role not in EXTRA_ROLES)
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
        return self.extra_images(("init", [init]))[0]

    def extra_images(self, *options: tuple[str, Sequence[str]]) -> list[InputImage]:
        """Images of options: those given, else those of `--from`.

        Args:
            *options: role of the images, which is the name of their option, and its paths.
        """
        images: list[InputImage] = []
        for role, paths in options:
            stored = self._source.inputs if self._source and not self.is_given(role) else ()
            found = [image for image in stored if image.role == role]
            images += found or [InputImage(role, path) for path in paths]
        return images

    def check_outputs(self, images: Sequence[InputImage], name: str) -> None:
        """Find out before any work whether everything can be written.

        Args:
            images: the inputs.
            name: file to write the image to without `--output`, or in the folder that it names.

        Raises:
            InvalidInputError: a destination is unusable, or would replace an input.
        """
        if not self._is_named:
            self._outputs = dataclasses.replace(self._outputs, image=name)
        elif is_folder(place := self._outputs.image) and not Path(place).suffix:
            self._outputs = dataclasses.replace(self._outputs, image=str(Path(place) / name))
        inputs = tuple(image.path for image in images)
        self._outputs.check(inputs, self.options.checkpoint)
        self._outcome.output, self._outcome.inputs = self._outputs.image, inputs
        self._outcome.variations, self._outcome.seed = self.options.variations, self.settings.seed

    @property
    def stores_alpha(self) -> bool:
        """Whether the image file can be transparent."""
        return stores_alpha(self._outputs.image)

    def recipe(self) -> Recipe:
        """The network's recipe: of the option `network`, of `--paper`, or else of `--from`.

        Raises:
            RecipeError: the network is unknown, or its recipe is invalid.
        """
        chosen = self.is_given("network") or "network" in self._literal
        if self._source is not None and not chosen:
            recipe = self._source.recipe
        else:
            recipe = load_recipe(self.settings.network)
        if self.settings.network_seed is not None:
            recipe = recipe.with_seed(self.settings.network_seed)
        self._outcome.network_seed = recipe.seed
        return recipe

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
        style_layers: Sequence[str] = (),
        num_regions: int = 1,
        has_tiles: bool = False,
    ) -> None:
        """Refuse a task that does not fit into memory, before TensorFlow is imported.

        Args:
            recipe: the network's.
            config: the task's.
            size: (height, width) of the result.
            target_sizes: (height, width) of each image that features are taken from.
            layers: every layer that the task reads.
            content_layers: layers whose target features are kept during the search.
            style_layers: layers whose Gram matrices are compared in regions.
            num_regions: number of regions.
            has_tiles: whether features may be computed in tiles.

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
            style_layers=style_layers,
            num_regions=num_regions,
            has_tiles=has_tiles,
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
        alpha: NDArray[np.float32] | None = None,
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
            alpha: alpha channel of the image, of its size, or None if it is opaque.

        Returns:
            The exit code.

        Raises:
            RwgenError: the task was refused or failed, or a result could not be written.
        """
        options = self.options
        provenance = Provenance(self._command, tuple(inputs), dict(vars(self.settings)), recipe)
        force = options.force
        if options.skip_done:
            there = stored_provenance(self._outputs.image, self._command)
            if there is not None and there.makes_the_same(provenance):
                if there.complete:
                    self._outcome.skipped = True
                    if not options.quiet:
                        say(f"{self._outputs.image} was made from the same; nothing is done")
                    return 0
                force = True  # what this very run has left behind when it was interrupted
        checkpoint = open_checkpoint(options.checkpoint, options.checkpoint_every, provenance)
        if not force and not (checkpoint is not None and checkpoint.is_saved):
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
                from rwgen.synthesis.reuse import shared_network

            with resources.on_device(options.device), phase("weights"):
                network = shared_network(recipe, recipe.topology.deepest(layers).name)
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

        return run_task(
            on_device, self._outputs, provenance, max_iterations, summary, checkpoint, alpha
        )


def load_inputs(
    images: Sequence[InputImage],
    size_of: Callable[[tuple[int, int]], tuple[int, int]],
    notes: list[str],
    *,
    keeps_alpha: bool = False,
) -> list[TaskInput]:
    """Read input images.

    Args:
        images: which ones.
        size_of: maps (height, width) of an image to the size that the task takes it at.
        notes: receives a line for each change of an image that a user may not expect.
        keeps_alpha: whether the result is as transparent as the images.

    Raises:
        ImageError: an image cannot be read.
        InvalidInputError: an image is not the one that `--from` names.
    """
    loaded = []
    for image in images:
        image, pixels, alpha = load_input_and_alpha(image, notes, keeps_alpha=keeps_alpha)
        size = size_of((pixels.shape[0], pixels.shape[1]))
        notes += size_notes(image.path, pixels.shape, size)
        loaded.append(TaskInput(image, pixels, size, alpha))
    return loaded


def is_given(context: typer.Context, name: str) -> bool:
    """Whether a parameter is on the command line, in a file of options, or in a job."""
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")


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


def _group_options(
    config: type[InversionConfig | StyleConfig | TextureConfig], paper: bool, preset: str
) -> dict[str, Any]:
    """Options that `--paper` and `--preset` set, with their values."""
    presets: Mapping[str, Mapping[str, Any]] = getattr(config, "PRESETS", {})
    if preset and preset not in presets:
        raise InvalidInputError(
            f"--preset: expected one of {', '.join(presets)}. Received: {preset!r:.60}"
        )
    groups = [*([config.PAPER] if paper else ()), *([presets[preset]] if preset else ())]
    values = {
        OPTION_OF.get(name, name): list(value) if isinstance(value, tuple) else value
        for group in groups
        for name, value in group.items()
    }
    if preset and presets[preset] is config.PAPER:
        values["paper"] = True
    return values
