"""Results and baselines in one table, judged by networks that made none of them.

Works on images of any origin, so that results of other programs can be compared with rwgen's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, cast

from numpy.typing import NDArray

from rwgen import metrics
from rwgen.baselines import style_baselines, texture_baselines
from rwgen.checks import unexpected
from rwgen.errors import InvalidInputError
from rwgen.evaluation.config import EvaluationConfig
from rwgen.evaluation.scale import check_image
from rwgen.metrics.held_out import HeldOutNetworks


@dataclass(frozen=True, kw_only=True)
class TextureScores:
    """How far a texture is from its source; lower is better.

    Attributes:
        gram: relative distance of covariances under held-out networks, see
            `rwgen.metrics.held_out.HeldOutNetworks.gram_distance`.
        variances: difference of the variances of patches in decibels, for each scale from the
            finest, see `rwgen.metrics.patch_variance_distance`.
        patches: sliced Wasserstein distance of patches in levels of 0..255, for each scale from
            the finest, see `rwgen.metrics.sliced_wasserstein`.
        spectrum: difference of radial power spectra in decibels, see
            `rwgen.metrics.power_spectrum_distance`.
        copies: share of the image that is copied from the source, see `rwgen.metrics.copy_rate`.
    """

    gram: float
    variances: tuple[float, ...]
    patches: tuple[float, ...]
    spectrum: float
    copies: float

    def numbers(self) -> dict[str, float]:
        """One number for each metric; of `variances` and `patches` the mean over scales."""
        return {
            **vars(self),
            "variances": mean(self.variances),
            "patches": mean(self.patches),
        }


@dataclass(frozen=True, kw_only=True)
class StyleScores:
    """How far a result is from style and content; lower is better, except for `ssim`.

    Attributes:
        style: as `TextureScores.gram`, from each style image.
        variances: as `TextureScores.variances`, from each style image.
        content: relative distance of features under held-out networks, see
            `rwgen.metrics.held_out.HeldOutNetworks.content_distance`.
        patches: as `TextureScores.patches`, from each style image.
        ssim: structural similarity to the content, see `rwgen.metrics.ssim`.
    """

    style: tuple[float, ...]
    variances: tuple[tuple[float, ...], ...]
    content: float
    patches: tuple[tuple[float, ...], ...]
    ssim: float

    def numbers(self) -> dict[str, float]:
        """One number for each metric, or each metric and style; the mean over scales."""
        count = len(self.style)
        endings = [f" {number}" if count > 1 else "" for number in range(1, count + 1)]

        def of_each_style(name: str, values: Iterable[float]) -> dict[str, float]:
            return {f"{name}{end}": value for end, value in zip(endings, values, strict=True)}

        return {
            **of_each_style("style", self.style),
            **of_each_style("variances", map(mean, self.variances)),
            "content": self.content,
            **of_each_style("patches", map(mean, self.patches)),
            "ssim": self.ssim,
        }


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image of the table.

    Attributes:
        name: the result's or the baseline's.
        is_baseline: whether it is a baseline (`rwgen.baselines`).
        scores: its distances.
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
    """Compare textures, and baselines after them, with their source.

    Args:
        results: images [height, width, 3] by name, of any size, RGB in 0..255, at the source's
            scale; see `rwgen.evaluation.scale_textures`.
        source: [height, width, 3], RGB in 0..255; what the results were made from.
        held_out: the same; another piece of the texture, which becomes a baseline.
        config: layers, networks and seed; None means the defaults.

    Returns:
        Iterator of rows, computed one by one: the results in their order, then the baselines.

    Raises:
        InvalidInputError: an image has a side under `MINIMUM_SIDE` pixels or another shape, or the
            source is uniform.
    """
    config = config or EvaluationConfig()
    others = [("the held-out piece", held_out)] if held_out is not None else []
    for name, image in (*results.items(), *others, ("the source", source)):
        check_image(name, image)
    baselines = texture_baselines(source, held_out, seed=config.seed)
    networks = HeldOutNetworks(config.texture_layers, config.held_out_seeds)
    gram_distance = networks.gram_distance_from(source)

    def judge(image: NDArray[Any]) -> TextureScores:
        return TextureScores(
            gram=gram_distance(image),
            variances=metrics.patch_variance_distance(image, source),
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
    """Compare results of style transfer, and baselines after them, with their content and styles.

    Args:
        results: images of the content's shape by name, RGB in 0..255; see
            `rwgen.evaluation.scale_styles`.
        content: [height, width, 3], RGB in 0..255.
        styles: the same, of any sizes, at the scale at which the results were made from them.
        config: layers, networks and seed; None means the defaults.

    Returns:
        Iterator of rows, computed one by one: the results in their order, then the baselines.

    Raises:
        InvalidInputError: there is no style, a result has another shape than the content, an image
            has a side under `MINIMUM_SIDE` pixels, or the content or a style is uniform.
    """
    config = config or EvaluationConfig()
    if not styles:
        raise InvalidInputError("expected at least one style image. Received: none")
    numbered = [(f"style {number}", style) for number, style in enumerate(styles, start=1)]
    for name, image in (*results.items(), ("the content", content), *numbered):
        check_image(name, image)
    for name, image in results.items():
        if image.shape != content.shape:
            raise unexpected(name, f"the content's shape {content.shape}", image.shape)
    baselines = style_baselines(content, styles, seed=config.seed)
    style_networks = HeldOutNetworks(config.style_layers, config.held_out_seeds)
    style_distances = [style_networks.gram_distance_from(style) for style in styles]
    content_networks = HeldOutNetworks(config.content_layers, config.held_out_seeds)
    content_distance = content_networks.content_distance_from(content)

    def judge(image: NDArray[Any]) -> StyleScores:
        return StyleScores(
            style=tuple(distance(image) for distance in style_distances),
            variances=tuple(metrics.patch_variance_distance(image, style) for style in styles),
            content=content_distance(image),
            patches=tuple(metrics.sliced_wasserstein(image, style) for style in styles),
            # None only for images smaller than the window, which are refused.
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
