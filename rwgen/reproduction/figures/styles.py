"""Figures 9 and 10: photos in the style of paintings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rwgen.network.recipe import Recipe
from rwgen.reproduction.parts import Style
from rwgen.reproduction.pictures import Picture
from rwgen.reproduction.report import (
    NO_TRAINED,
    Claim,
    Content,
    Table,
    Tile,
    TileRow,
    Verdict,
    decimals,
    judge,
)
from rwgen.reproduction.setting import Figure, Parts, Results, Setting, picture_tile

MATCHED = 0.5
"""Largest ratio of the result's to the photo's distance to the painting's covariances at which a
style counts as transferred."""

KEPT = 0.5
"""Smallest correlation of 16x16 luminances at which a scene counts as kept."""

_READING = (
    "For every pair, covariances under untrained networks of other seeds are at most "
    f"{MATCHED:g} times as far from the painting's as the photo's are, and the correlation of "
    f"luminances with the photo's, scaled to 16x16 pixels, is at least {KEPT:g}."
)
_ARTISTIC = Claim(
    "By recasting the content of a university image in the style of the five artworks, we obtain "
    "different artistic images based on the untrained ranVGG.",
    _READING,
)
_COMPARABLE = Claim(
    "Our results are comparable to [Gatys et al.] on the pretrained VGG, and are in the same order "
    "of magnitude.",
    "The ratio of the untrained to the trained network's distance to the painting's patches "
    "(sliced Wasserstein, median over paintings) is between 0.1 and 10.",
)
_CHINESE = Claim(
    "High perceptual artistic Chinese paintings that well combine the style of the painting and "
    "the content of the sceneries.",
    _READING,
)
_CONTENT_OF_FIGURE_9 = 3  # the fourth photo: figures 2 to 6 show the others


def _pairs_of_figure_9(setting: Setting) -> list[tuple[Picture, Picture]]:
    scale = setting.scale
    content = setting.pictures.get("photo", _CONTENT_OF_FIGURE_9, scale.style_size)
    return [
        (content, setting.pictures.get("painting", number, scale.style_size))
        for number in range(scale.paintings)
    ]


def _pairs_of_figure_10(setting: Setting) -> list[tuple[Picture, Picture]]:
    scale = setting.scale
    return [
        (
            setting.pictures.get("photo", number + 1, scale.style_size),
            setting.pictures.get("painting", scale.paintings + number, scale.style_size),
        )
        for number in range(scale.scenes)
    ]


def _part(setting: Setting, pair: tuple[Picture, Picture], network: Recipe) -> Style:
    content, painting = pair
    return Style(
        content=content,
        painting=painting,
        network=network,
        iterations=setting.scale.style_iterations,
    )


def _networks(setting: Setting) -> dict[str, Recipe]:
    return {"untrained": setting.untrained, **setting.trained_networks}


def _parts_of_figure_9(setting: Setting) -> Parts:
    return {
        f"pair_{number}-{name}": _part(setting, pair, network)
        for number, pair in enumerate(_pairs_of_figure_9(setting), start=1)
        for name, network in _networks(setting).items()
    }


def _parts_of_figure_10(setting: Setting) -> Parts:
    return {
        f"pair_{number}-untrained": _part(setting, pair, setting.untrained)
        for number, pair in enumerate(_pairs_of_figure_10(setting), start=1)
    }


def _artworks(setting: Setting, results: Results) -> Content:
    pairs = _pairs_of_figure_9(setting)
    rows = [
        TileRow(
            "photo and styles", [picture_tile(pairs[0][0]), *(picture_tile(p) for _, p in pairs)]
        )
    ]
    for name in _networks(setting):
        tiles = [_tile(f"pair_{n}-{name}", pair, results) for n, pair in enumerate(pairs, start=1)]
        rows.append(TileRow(name, tiles))
    comparable = judge(_COMPARABLE, None, NO_TRAINED)
    if setting.trained:
        ratios = [
            results[f"pair_{n}-untrained"].numbers["patches"]
            / results[f"pair_{n}-trained"].numbers["patches"]
            for n in range(1, 1 + len(pairs))
        ]
        ratio = float(np.median(ratios))
        comparable = judge(_COMPARABLE, 0.1 <= ratio <= 10, f"untrained / trained {ratio:.2f}")
    return Content(
        caption="One photo in the style of several images, with the paper's layers and ratio.",
        rows=rows,
        tables=[_table(pairs, results)],
        verdicts=[style_verdict(_ARTISTIC, pairs, results), comparable],
        remarks=_remarks(setting),
    )


def _scenes(setting: Setting, results: Results) -> Content:
    pairs = _pairs_of_figure_10(setting)
    rows = [
        TileRow(
            f"{painting.name}, {content.name}",
            [
                picture_tile(painting),
                picture_tile(content),
                _tile(f"pair_{number}-untrained", (content, painting), results),
            ],
        )
        for number, (content, painting) in enumerate(pairs, start=1)
    ]
    return Content(
        caption="Several photos, each in the style of another image.",
        rows=rows,
        tables=[_table(pairs, results)],
        verdicts=[style_verdict(_CHINESE, pairs, results)],
        remarks=_remarks(setting),
    )


def style_verdict(
    claim: Claim, pairs: Sequence[tuple[Picture, Picture]], results: Results
) -> Verdict:
    """Return the verdict on whether every result has its painting's style and its photo's scene."""
    holds, details = True, []
    for number, (content, painting) in enumerate(pairs, start=1):
        numbers = results[f"pair_{number}-untrained"].numbers
        share = numbers["covariances"] / numbers["covariances_of_photo"]
        kept = numbers["coarse_correlation"]
        holds &= share <= MATCHED and kept is not None and kept >= KEPT
        details.append(f"{content.name} / {painting.name}: {share:.2f}, {decimals(kept, 3)}")
    return judge(claim, holds, "ratio of covariance distances, correlation: " + "; ".join(details))


def _table(pairs: Sequence[tuple[Picture, Picture]], results: Results) -> Table:
    rows = []
    for number, (content, painting) in enumerate(pairs, start=1):
        numbers = results[f"pair_{number}-untrained"].numbers
        rows.append(
            (
                f"{content.name} / {painting.name}",
                f"{numbers['covariances']:.3g} ({numbers['covariances_of_photo']:.3g})",
                f"{numbers['patches']:.3g} ({numbers['patches_of_photo']:.3g})",
                f"{decimals(numbers['coarse_correlation'], 2)} "
                f"({decimals(numbers['coarse_correlation_of_painting'], 2)})",
                f"{decimals(numbers['ssim'], 2)} ({decimals(numbers['ssim_of_painting'], 2)})",
            )
        )
    return Table(
        "Distance to the painting (the photo's in parentheses), and similarity to the photo (the "
        "painting's in parentheses)",
        ("photo / painting", "covariances", "patches", "correlation", "SSIM"),
        rows,
    )


def _tile(key: str, pair: tuple[Picture, Picture], results: Results) -> Tile:
    content, painting = pair
    result = results[key]
    share = result.numbers["covariances"] / result.numbers["covariances_of_photo"]
    detail = f"{share:.0%} of the photo's distance"
    description = f"{content.name} in the style of {painting.name}, {detail} to that style"
    return Tile(result.image, key, f"{content.name} / {painting.name}", detail, description)


def _remarks(setting: Setting) -> list[str]:
    if setting.pictures.is_own("painting"):
        return []
    return ["scikit-image has no paintings; other colorful images of it are used instead."]


FIGURE_9 = Figure(9, "A photo in several styles", _parts_of_figure_9, _artworks)
FIGURE_10 = Figure(10, "Photos and styles in pairs", _parts_of_figure_10, _scenes)
