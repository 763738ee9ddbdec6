"""Style transfer in one call: files in, a result that displays itself out."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from rwgen.checks import check_count
from rwgen.errors import InvalidInputError
from rwgen.files import FileName
from rwgen.images import (
    ImageLike,
    as_pixels,
    encode_image,
    fit_longest_side,
    resize_image,
    write_image,
)
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import Recipe
from rwgen.optimize.solution import Callback, Solution, Step, step_callback
from rwgen.progress import progress
from rwgen.provenance import METADATA_KEY, InputImage, Provenance, options_of, pixel_digest
from rwgen.synthesis.config import DEFAULT_SIZE, StyleConfig, StyleStart

if TYPE_CHECKING:
    from rwgen.optimize.checkpoint import Checkpoint
    from rwgen.synthesis.pipeline import Network


@dataclass(frozen=True)
class Stylized:
    """A stylized image, which a notebook displays.

    Attributes:
        solution: The search that made it, with its losses.
        provenance: What it was made from; None if that is not files and options alone.
    """

    solution: Solution
    provenance: Provenance | None = None

    @functools.cached_property
    def image(self) -> NDArray[np.uint8]:
        """The pixels, uint8 [height, width, 3], sRGB."""
        pixels: NDArray[np.uint8] = np.rint(self.solution.image).clip(0, 255).astype(np.uint8)
        return pixels

    def save(self, path: FileName) -> None:
        """Write the image, replacing a file that exists.

        A PNG stores the settings that made it if all inputs were files: `rwgen style --from PATH`
        then makes it again.

        Args:
            path: See `rwgen.write_image`.

        Raises:
            InvalidInputError: The suffix is unknown.
            OutputError: The image could not be written.
        """
        metadata: Mapping[str, str] = {}
        if self.provenance is not None:
            metadata = {METADATA_KEY: self.provenance.to_json(os.fspath(path))}
        write_image(path, self.image, metadata=metadata)

    @property
    def history(self) -> dict[str, list[float]]:
        """Iterations, losses and the weighted terms of the losses, by name.

        A coarse-to-fine search has losses of several sizes, which cannot be compared.
        """
        steps = self.solution.history
        values: dict[str, list[float]] = {"iteration": [step.iteration for step in steps]}
        values["loss"] = [step.loss for step in steps]
        for name in self.solution.terms:
            values[name] = [step.terms[name] for step in steps]
        return values

    def curves(self) -> Any:
        """Plot the loss and its terms by iteration.

        Returns:
            A figure of Matplotlib, which a notebook displays; `history` if Matplotlib, the extra
            `plots`, is not installed.
        """
        try:
            from rwgen.notebook.chart import loss_chart
        except ImportError:
            return self.history
        return loss_chart(self.history)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Let NumPy, and every function of rwgen that takes images, use the pixels."""
        return np.array(self.image, dtype, copy=copy)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        steps, loss = self.solution.iterations, self.solution.loss
        return f"<Stylized {width}x{height}, {steps} iterations, loss {loss:.4g}>"

    def _repr_png_(self) -> bytes:
        return encode_image(self.image)


def stylize(
    content: ImageLike,
    *styles: ImageLike,
    size: int = DEFAULT_SIZE,
    iterations: int | None = None,
    config: StyleConfig | None = None,
    init: ImageLike | None = None,
    content_mask: ImageLike | None = None,
    style_masks: ImageLike | Sequence[ImageLike] = (),
    network: Network = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    memory_limit: int | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Stylized:
    """Render the content of one image in the style of others, as `rwgen style` does.

    Args:
        content: File name, image of Pillow, array or tensor [height, width, 3] of integers, or of
            floats in 0..255.
        *styles: One or more style images in any of these forms.
        size: Longest side of the result in pixels. All images are resized to it.
        iterations: Maximum number of iterations; None means the configuration's.
        config: Settings; None means the defaults.
        init: Image that the search starts from, which is resized too, or one of the configuration's
            starts, `noise` or `content`; None means the configuration's.
        content_mask: See `rwgen.transfer_style`.
        style_masks: See `rwgen.transfer_style`.
        network: See `rwgen.transfer_style`.
        callback: See `rwgen.transfer_style`.
        checkpoint: See `rwgen.transfer_style`.
        memory_limit: See `rwgen.transfer_style`.
        quiet: Whether to show no progress: a bar in a notebook (with ipywidgets, the extra
            `notebook`) or on a terminal, and otherwise a line every ten seconds.
        **settings: Fields of `StyleConfig` that differ from `config`, such as `content_weight=150`.

    Returns:
        The result. It displays itself in a notebook.

    Raises:
        RwgenError: See `rwgen.transfer_style`. Unknown settings are an InvalidInputError.
    """
    check_count("size", size, 1)
    if isinstance(init, str) and init in get_args(StyleStart):
        init, settings["init"] = None, init
    config = _configured(config, iterations, settings)
    from rwgen.synthesis.tasks import as_list, transfer_style  # imports TensorFlow

    images = as_list(styles[0]) if len(styles) == 1 else list(styles)
    masks: list[Any] = list(style_masks) if isinstance(style_masks, list | tuple) else [style_masks]
    given: dict[str, Sequence[ImageLike]] = {
        "content": [content],
        "style": images,
        "content_mask": [] if content_mask is None else [content_mask],
        "style_mask": masks,
        "init": [] if init is None else [init],
    }
    found = [(role, image, as_pixels(image)) for role in given for image in given[role]]
    read = {role: [pixels for name, _, pixels in found if name == role] for role in given}
    pixels = _fitted(read["content"][0], size)
    painted = [_fitted(style, None if config.style_scale else size) for style in read["style"]]
    start = resize_image(read["init"][0], *pixels.shape[:2]) if init is not None else None
    provenance = None
    if network is None or isinstance(network, str | Recipe):
        recipe = network if isinstance(network, Recipe) else load_recipe(network or config.network)
        provenance = _provenance(found, config, size, recipe)
    report = step_callback(callback)
    with progress(config.optimizer.max_iterations, quiet) as show:

        def shown(step: Step, best: Callable[[], NDArray[Any]]) -> bool | None:
            show(step)
            return report(step, best) if report else None

        solution = transfer_style(
            pixels,
            painted,
            network=network,
            config=config,
            init=start,
            content_mask=next(iter(read["content_mask"]), None),
            style_masks=read["style_mask"],
            callback=shown,
            checkpoint=checkpoint,
            memory_limit=memory_limit,
        )
    return Stylized(solution, provenance)


def _configured(
    config: StyleConfig | None, iterations: int | None, settings: Mapping[str, Any]
) -> StyleConfig:
    """The configuration with other iterations and fields."""
    config = config or StyleConfig()
    names = [field.name for field in dataclasses.fields(config)]
    for name in settings:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1) or ["one of " + ", ".join(names)]
            raise InvalidInputError(f"expected a setting such as {near[0]}. Received: {name}")
    config = dataclasses.replace(config, **settings)
    if iterations is None:
        return config
    optimizer = dataclasses.replace(config.optimizer, max_iterations=iterations)
    return dataclasses.replace(config, optimizer=optimizer)


def _fitted(pixels: NDArray[Any], size: int | None) -> NDArray[Any]:
    """Resize an image so that its longest side is `size`; None leaves that to `transfer_style`."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InvalidInputError(
            f"expected an image of shape [height, width, 3]. Received: {pixels.shape}"
        )
    if size is None:
        return pixels
    return resize_image(pixels, *fit_longest_side(pixels.shape[0], pixels.shape[1], size))


def _provenance(
    found: list[tuple[str, ImageLike, NDArray[Any]]],
    config: StyleConfig,
    size: int,
    recipe: Recipe,
) -> Provenance | None:
    """What `rwgen style --from` needs to make the image again, or None if options cannot say it."""
    plain = StyleConfig().optimizer
    plain = dataclasses.replace(plain, max_iterations=config.optimizer.max_iterations)
    if config.optimizer != plain:
        return None
    inputs = []
    for role, image, pixels in found:
        if not isinstance(image, str | os.PathLike):
            return None
        inputs.append(InputImage(role, str(os.fspath(image)), pixel_digest(pixels)))
    options = {"size": size, **options_of(config), "network": recipe.name}
    if inputs[-1].role == "init":
        options["init"] = inputs[-1].path
    return Provenance("style", tuple(inputs), options, recipe)
