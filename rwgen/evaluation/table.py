"""Results and baselines in one table, judged by nothing that made them.

Works on images of any origin, so that other programs' results stand beside rwgen's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, cast

from numpy.typing import NDArray

from rwgen import metrics
from rwgen.baselines import style_baselines, texture_baselines
from rwgen.errors import InvalidInputError
from rwgen.evaluation.config import EvaluationConfig
from rwgen.metrics.config import MINIMUM_SIDE
from rwgen.metrics.held_out import HeldOutNetworks


@dataclass(frozen=True, kw_only=True)
class TextureScores:
    """How far a texture is from its source; each is better the lower it is.

    Attributes:
        gram: relative distance of covariances under held-out networks, see
            `rwgen.metrics.held_out.HeldOutNetworks.gram_distance`.
        patches: sliced Wasserstein distance of patches in levels of 0..255, for each scale from
            the finest, see `rwgen.metrics.sliced_wasserstein`.
        spectrum: difference of radial power spectra in decibels, see
            `rwgen.metrics.power_spectrum_distance`.
        copies: share that is copied side by side, see `rwgen.metrics.copy_rate`.
    """

    gram: float
    patches: tuple[float, ...]
    spectrum: float
    copies: float

    def numbers(self) -> dict[str, float]:
        """One number a metric: of patches the mean over scales."""
        return {**vars(self), "patches": mean(self.patches)}


@dataclass(frozen=True, kw_only=True)
class StyleScores:
    """How far a result is from style and content; but for `ssim`, better the lower it is.

    Attributes:
        style: as `TextureScores.gram`, to each style image.
        content: relative distance of features under held-out networks, see
            `rwgen.metrics.held_out.HeldOutNetworks.content_distance`.
        patches: as `TextureScores.patches`, to each style image.
        ssim: structural similarity to the content, see `rwgen.metrics.ssim`.
    """

    style: tuple[float, ...]
    content: float
    patches: tuple[tuple[float, ...], ...]
    ssim: float

    def numbers(self) -> dict[str, float]:
        """One number a metric, or a metric and style; of patches the mean over scales."""
        count = len(self.style)
        endings = [f" {number}" if count > 1 else "" for number in range(1, count + 1)]
        patches = [mean(scales) for scales in self.patches]
        return {
            **{f"style{end}": value for end, value in zip(endings, self.style, strict=True)},
            "content": self.content,
            **{f"patches{end}": value for end, value in zip(endings, patches, strict=True)},
            "ssim": self.ssim,
        }


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image of the table.

    Attributes:
        name: the result's or the baseline's.
        is_baseline: whether it is a baseline (`rwgen.baselines`).
        scores: what it was judged to be.
    """

    name: str
    is_baseline: bool
    scores: TextureScores | StyleScores


def evaluate_texture(
    results: Mapping[str, NDArray[Any]],
    source: NDArray[Any],
    *,
    held_out: NDArray[Any] | None = None,
    config: EvaluationConfig | None = None,
) -> Iterator[Row]:
    """Judge textures, and baselines after them, by one source.

    Args:
        results: by name, images [height, width, 3] of any size, RGB in 0..255, whose grain has
            the source's scale.
        source: the same; what the results were made from.
        held_out: the same; another piece of the texture, which becomes a baseline.
        config: layers, networks and seed; None means the defaults.

    Returns:
        Rows, each as it is asked for: the results in their order, then the baselines.

    Raises:
        InvalidInputError: an image has a side under `MINIMUM_SIDE` pixels, or another shape.
    """
    config = config or EvaluationConfig()
    others = [("another crop", held_out)] if held_out is not None else []
    _check([*results.items(), *others, ("the source", source)])
    baselines = texture_baselines(source, held_out, seed=config.seed)
    networks = HeldOutNetworks(config.texture_layers, config.held_out_seeds)

    def judge(image: NDArray[Any]) -> TextureScores:
        return TextureScores(
            gram=networks.gram_distance(image, source),
            patches=metrics.sliced_wasserstein(image, source),
            spectrum=metrics.power_spectrum_distance(image, source),
            copies=metrics.copy_rate(image, source),
        )

    return _rows(results, baselines, judge)


def evaluate_style(
    results: Mapping[str, NDArray[Any]],
    content: NDArray[Any],
    styles: Sequence[NDArray[Any]],
    *,
    config: EvaluationConfig | None = None,
) -> Iterator[Row]:
    """Judge results of style transfer, and baselines after them, by one content and its styles.

    Args:
        results: by name, images of the content's shape, RGB in 0..255.
        content: [height, width, 3], the same range.
        styles: the same of any sizes, at the scale at which the results took them.
        config: layers, networks and seed; None means the defaults.

    Returns:
        Rows, each as it is asked for: the results in their order, then the baselines.

    Raises:
        InvalidInputError: no style, a result of another shape than the content, or an image with
            a side under `MINIMUM_SIDE` pixels.
    """
    config = config or EvaluationConfig()
    if not styles:
        raise InvalidInputError("expected at least one style image. Received: none")
    numbered = [(f"style {number}", style) for number, style in enumerate(styles, start=1)]
    _check([*results.items(), ("the content", content), *numbered])
    for name, image in results.items():
        if image.shape != content.shape:
            raise InvalidInputError(
                f"expected results of the content's {content.shape[1]}x{content.shape[0]} pixels. "
                f"Received: {name}, {image.shape[1]}x{image.shape[0]}"
            )
    baselines = style_baselines(content, styles, seed=config.seed)
    style_networks = HeldOutNetworks(config.style_layers, config.held_out_seeds)
    content_networks = HeldOutNetworks(config.content_layers, config.held_out_seeds)

    def judge(image: NDArray[Any]) -> StyleScores:
        return StyleScores(
            style=tuple(style_networks.gram_distance(image, style) for style in styles),
            content=content_networks.content_distance(image, content),
            patches=tuple(metrics.sliced_wasserstein(image, style) for style in styles),
            # It is None only for images smaller than its window.
            ssim=cast("float", metrics.ssim(image, content)),
        )

    return _rows(results, baselines, judge)


def _rows(
    results: Mapping[str, NDArray[Any]],
    baselines: Mapping[str, NDArray[Any]],
    judge: Callable[[NDArray[Any]], TextureScores | StyleScores],
) -> Iterator[Row]:
    for is_baseline, images in ((False, results), (True, baselines)):
        for name, image in images.items():
            yield Row(name=name, is_baseline=is_baseline, scores=judge(image))


def _check(images: Sequence[tuple[str, NDArray[Any]]]) -> None:
    for name, image in images:
        if image.ndim != 3 or image.shape[-1] != 3 or min(image.shape[:2]) < MINIMUM_SIDE:
            raise InvalidInputError(
                f"expected images [height, width, 3] of at least {MINIMUM_SIDE} pixels a side. "
                f"Received: {name}, {image.shape}"
            )
