"""What all tasks share: the network, coarse to fine, memory, checkpoints, the search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
from numpy.typing import NDArray

from rwgen.checks import check_count
from rwgen.compute.device import Precision, tensor_float_32
from rwgen.compute.plan import ComputePlan, network_workload
from rwgen.errors import InvalidInputError
from rwgen.images import ImageLike, as_pixels, resize_image
from rwgen.network.architecture import Architecture
from rwgen.network.features import feature_extractor
from rwgen.network.keras_settings import check_layers
from rwgen.network.lookup import load_recipe
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import Recipe
from rwgen.network.vgg import weight_fingerprints
from rwgen.optimize.checkpoint import Checkpoint, fingerprint
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.minimizer import Minimizer
from rwgen.optimize.solution import Callback, Solution, Step, StepCallback, step_callback
from rwgen.phases import phase
from rwgen.synthesis.config import (
    InversionConfig,
    ParameterizationName,
    StyleConfig,
    TextureConfig,
)
from rwgen.synthesis.image_minimizer import ImageMinimizer
from rwgen.synthesis.margins import add_margin, cut_margin, with_margin
from rwgen.synthesis.objectives import Objective
from rwgen.synthesis.pyramid import (
    AUTOMATIC_SIDE,
    AUTOMATIC_SIDE_OF_IMAGE,
    image_sizes,
    solve_coarse_to_fine,
)
from rwgen.synthesis.reuse import SEARCHES, network_key, shared_network

Network: TypeAlias = keras.Model | Recipe | str | None
"""A network, its recipe, or its name or file; None means that of the configuration."""

Config = InversionConfig | TextureConfig | StyleConfig
"""Settings of any task."""

_SETTINGS_OF_VALUES = (
    "network",
    "content_weight",
    "style_weight",
    "tv_weight",
    "style_blend",
    "source_blend",
    "style_scale",
    "colors",
    "init",
    "weighting",
    "shift_features",
    "octaves",
    "margin",
    "seed",
    "optimizer",
)
"""Fields of configurations that decide an objective's values or a start, or that a key of searches
has otherwise. Any other field is taken to decide the functions too."""

MakeObjective = Callable[
    [keras.Model, Sequence[NDArray[Any]], ComputePlan, ImageMinimizer], Objective
]
"""Makes the objective at one size from the network to compute with, network input
[1, height, width, 3] of each target image, how features are computed, and the minimizer of that
size."""


@dataclass(frozen=True)
class TargetImage:
    """An image that a task takes features from.

    Attributes:
        name: what it is, for messages.
        pixels: [height, width, 3], RGB in 0..255.
        has_result_size: whether it always has exactly the size of the result. Otherwise both its
            sides are scaled like the result's.
    """

    name: str
    pixels: NDArray[Any]
    has_result_size: bool = False

    def at(self, size: tuple[int, int], factor: float) -> NDArray[Any]:
        """Pixels for a result of `size`, which is `factor` times the finest size."""
        if factor == 1:
            return self.pixels
        if not self.has_result_size:
            height, width = self.pixels.shape[:2]
            size = max(1, round(height * factor)), max(1, round(width * factor))
        return resize_image(self.pixels, *size)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What differs between the tasks.

    Attributes:
        name: what a checkpoint calls it.
        config: its settings.
        network: its network.
        size: (height, width) of the result.
        targets: images that features are taken from, the content image first.
        layers: every layer that is read.
        content_layers: layers whose target features are kept during the search.
        objective: see `MakeObjective`.
        parameterization: what L-BFGS moves.
        automatic_side: see `image_sizes`, for a search that starts from noise.
        precision: see `ComputePlan`.
        propagate_differences: see `ComputePlan`.
        style_layers: layers whose Gram matrices are compared.
        num_regions: number of regions that they are compared in.
        settings: further settings that decide the result, for checkpoints.
        tileable: whether images of the result's size are resized as tiles.
        multiple: number that both sides of the result are multiples of, at every size.
        margin: pixels by which the search goes beyond each border of the result.
        has_tiles: whether features may be computed in tiles.
        full_share_side: how sizes share the iterations, see `iteration_shares`.
    """

    name: str
    config: Config
    network: keras.Model
    size: tuple[int, int]
    targets: Sequence[TargetImage]
    layers: Sequence[str]
    content_layers: Sequence[str]
    objective: MakeObjective
    parameterization: ParameterizationName
    automatic_side: int = AUTOMATIC_SIDE
    precision: Precision = "float32"
    propagate_differences: bool = False
    style_layers: Sequence[str] = ()
    num_regions: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    tileable: bool = False
    multiple: int = 1
    margin: int = 0
    has_tiles: bool = False
    full_share_side: int | None = None

    def with_margin(self) -> Task:
        """The task of the search, whose images of the result's size have the margin."""
        return dataclasses.replace(
            self,
            size=with_margin(self.size, self.margin),
            targets=[
                dataclasses.replace(target, pixels=add_margin(target.pixels, self.margin))
                if target.has_result_size
                else target
                for target in self.targets
            ],
        )


def run(
    task: Task,
    init: ImageLike | None,
    callback: Callback | None,
    checkpoint: Checkpoint | None,
    memory_limit: int | None,
    verbose: bool | int,
) -> Solution:
    """Search for the image of a task.

    Args:
        task: the task.
        init: start of the search, an image of the result's size; None means white noise.
        callback: receives RGB in 0..255.
        checkpoint: where to store the state, or None.
        memory_limit: bytes that the process may take; None means no limit.
        verbose: whether to print a line of text after each chunk.

    Returns:
        The solution; its image is [*task.size, 3], RGB in 0..255, not clipped.

    Raises:
        InvalidInputError: `init` has another shape, or the callback takes other arguments.
        CheckpointError: the checkpoint belongs to another run.
        OutputError: the checkpoint could not be written.
        MemoryLimitError: the task does not fit into `memory_limit`.
        OptimizationError: the loss is not finite.
    """
    config, network = task.config, task.network
    callback = _with_lines(step_callback(callback), config.optimizer.max_iterations, verbose)
    first = None if init is None else as_pixels(init)
    _check_init(first, (*task.size, 3))
    if checkpoint is not None:
        _expect(checkpoint, task, first)

    def cut(image: NDArray[Any]) -> NDArray[Any]:
        return cut_margin(image, margin)

    margin, task = task.margin, task.with_margin()
    first = None if first is None else add_margin(first, margin)
    callback = mapped(callback, cut)
    # The finest size needs the most: refuse what cannot fit before any work.
    finest = [target.pixels.shape for target in task.targets]
    _plan(task, task.size, finest, config.optimizer, memory_limit)
    dtype = network.inputs[0].dtype

    def solve(
        size: tuple[int, int],
        start: NDArray[Any] | None,
        optimizer: OptimizerConfig,
        report: StepCallback,
    ) -> Solution:
        factor = size[0] / task.size[0]
        targets = [network_input(target.at(size, factor), dtype) for target in task.targets]
        shapes = [target.shape[1:] for target in targets]
        plan, pairs = _plan(task, size, shapes, optimizer, memory_limit)
        optimizer = dataclasses.replace(optimizer, num_correction_pairs=pairs)
        minimizer = ImageMinimizer(size, dtype, task.parameterization, config.seed)
        computed = plan.network(network)
        with phase("targets", f"{size[1]}x{size[0]}"):
            objective = task.objective(computed, targets, plan, minimizer)

        def make() -> Minimizer:
            compiled = plan.compiles_objective
            return minimizer.search(objective.terms, optimizer, jit_compile=compiled)

        # All that the functions of the search refer to, except the network's current weights.
        key = (
            task.name,
            size,
            task.parameterization,
            plan,
            dataclasses.replace(optimizer, max_iterations=0),
            objective.structure,
            _settings_of_functions(config),
            network_key(network, computed),
        )
        with SEARCHES.borrow(network, key, make) as search:
            return minimizer.minimize(
                search,
                start,
                report,
                checkpoint,
                inputs=[objective.values],
                max_iterations=optimizer.max_iterations,
            )

    sides = [*task.size, *(side for image in task.targets for side in image.pixels.shape[:2])]
    takes_any_size = None in network.inputs[0].shape[1:3]
    octaves = config.octaves if takes_any_size else 0
    automatic_side = task.automatic_side if first is None else AUTOMATIC_SIDE_OF_IMAGE
    sizes = image_sizes(task.size, octaves, min(sides), automatic_side, multiple=task.multiple)
    with tensor_float_32(task.precision == "tf32"):
        solution = solve_coarse_to_fine(
            solve,
            sizes,
            first,
            config.optimizer,
            callback,
            checkpoint,
            full_share_side=task.full_share_side,
            tileable=task.tileable,
        )
    return dataclasses.replace(solution, image=cut(solution.image))


def mapped(
    callback: Callback | None, function: Callable[[NDArray[Any]], NDArray[Any]]
) -> StepCallback | None:
    """A callback that receives images mapped by a function."""
    report = step_callback(callback)
    if report is None:
        return None
    return lambda step, best: report(step, lambda: function(best()))


def task_network(
    network: Network,
    config: Config,
    layers: Sequence[str],
    shapes: Mapping[str, Sequence[int]],
) -> keras.Model:
    """The network of a task: the caller's, or the configured one up to the deepest layer.

    Args:
        network: the caller's, to build if it is a name or a recipe; None builds the configured one.
        config: names the network.
        layers: every layer that the task reads.
        shapes: (height, width, ...) of every image, by its name in messages.

    Returns:
        A model that accepts all images.

    Raises:
        InvalidInputError: an image is too small, or of a size that the network does not accept, or
            the network computes in half precision or has its channels first.
        LayerError: a layer is unknown.
        RecipeError: the network is unknown.
    """
    if network is None or isinstance(network, str | Recipe):
        recipe = network if isinstance(network, Recipe) else load_recipe(network or config.network)
        topology: Architecture = recipe.topology
        for name, shape in shapes.items():
            topology.check_image_size(layers, shape, name)
        with phase("weights"):
            return shared_network(recipe, topology.deepest(layers).name)
    extractor = feature_extractor(network, layers)
    check_layers(extractor)
    for name, shape in shapes.items():
        try:
            outputs = extractor.compute_output_shape((1, *shape[:2], 3))
        except ValueError:  # Keras: a fixed size, or nothing left after a pool
            outputs = {layers[0]: (0,)}
        if any(0 in output for output in outputs.values()):
            raise InvalidInputError(
                f"expected {name} of a size that {network.name} accepts for {', '.join(layers)}. "
                f"Received: {shape[1]}x{shape[0]}"
            )
    return network


def _plan(
    task: Task,
    size: Sequence[int],
    targets: Sequence[Sequence[int]],
    optimizer: OptimizerConfig,
    memory_limit: int | None,
) -> tuple[ComputePlan, int]:
    """How to compute the features of a task at one size, and the number of pairs of L-BFGS.

    Raises:
        MemoryLimitError: the task does not fit into `memory_limit`.
    """
    work = network_workload(
        task.network,
        task.layers,
        size=size,
        targets=targets,
        content_layers=task.content_layers,
        optimizer=optimizer,
        propagate_differences=task.propagate_differences,
        style_layers=task.style_layers,
        num_regions=task.num_regions,
        has_tiles=task.has_tiles,
    )
    plan = ComputePlan(
        jit_compile=work.compiled,
        winograd=optimizer.winograd,
        precision=task.precision,
        propagate_differences=task.propagate_differences,
    )
    return plan.within(memory_limit, work), work.num_correction_pairs


def _with_lines(
    callback: StepCallback | None, max_iterations: int, verbose: bool | int
) -> StepCallback | None:
    """A callback that prints its steps before it calls another one."""
    check_count("verbose", int(verbose) if isinstance(verbose, bool) else verbose)
    if not verbose:
        return callback

    def report(step: Step, best: Callable[[], NDArray[Any]]) -> bool | None:
        print(
            f"iteration {step.iteration}/{max_iterations} - {step.seconds:.1f} s - "
            f"loss {step.loss:.4g}",
            flush=True,
        )
        return callback(step, best) if callback else None

    return report


def _settings_of_functions(config: Config) -> tuple[tuple[str, Any], ...]:
    names = [item.name for item in dataclasses.fields(config)]
    return tuple((name, getattr(config, name)) for name in names if name not in _SETTINGS_OF_VALUES)


def _check_init(init: NDArray[Any] | None, shape: Sequence[int]) -> None:
    if init is not None and tuple(init.shape) != tuple(shape):
        raise InvalidInputError(
            f"expected an init image of shape {tuple(shape)}. Received: {tuple(init.shape)}"
        )


def _expect(checkpoint: Checkpoint, task: Task, init: NDArray[Any] | None) -> None:
    """State everything that decides the result."""
    images = [*(target.pixels for target in task.targets), init]
    checkpoint.expect(
        may_grow=("max_iterations",),
        task=task.name,
        settings={**dataclasses.asdict(task.config), **task.settings},
        images=[fingerprint(image) for image in images],
        network=task.network.to_json(),
        weights=weight_fingerprints(task.network),
    )
