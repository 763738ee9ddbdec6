"""Figure 6: variation over the seeds of networks, stacked compared with plain and trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from rwgen.network.recipe import Recipe
from rwgen.reproduction.figures.comparison import Comparison, compare, quantiles
from rwgen.reproduction.parts import ImagePart, Inversion, Stack
from rwgen.reproduction.pictures import Picture
from rwgen.reproduction.report import (
    NO_TRAINED,
    BoxChart,
    Claim,
    Content,
    Table,
    Tile,
    TileRow,
    Verdict,
    decimals,
    judge,
)
from rwgen.reproduction.setting import Figure, Parts, Results, Setting, inversion_tile, picture_tile

SIGNIFICANT = 0.05
"""Upper bound of the p-value of a significant difference."""

SHOWN = 3
"""Number of seeds whose images are shown; the raw images include all seeds."""

_SPREAD = Claim(
    "As compared with the VGG with purely random weights, ranVGG, the VGG with stacked random "
    "weights, exhibits lower variations ...",
    "The score of a seed is the mean over layers of its distance divided by the layer's median. "
    "The scores of stacked networks have a smaller mean absolute deviation from their median, with "
    f"p < {SIGNIFICANT} (Brown-Forsythe test).",
)
_LOCATION = Claim(
    "... and lower reconstruction distances.",
    "The scores of stacked networks are smaller, seed by seed, with "
    f"p < {SIGNIFICANT} (Wilcoxon signed-rank test).",
)
_TRAINED = Claim(
    "As compared with the trained VGG, both stacked ranVGG and VGG with purely random weights "
    "exhibit lower reconstruction distance with lower variations.",
    "At every layer, medians and interquartile ranges of both are below the trained network's.",
)


def _parts(setting: Setting) -> Parts:
    scale = setting.scale
    picture, reference = _picture(setting), _reference(setting)
    parts: dict[str, ImagePart] = {}
    for seed in range(scale.seeds):
        base = setting.seeded(seed)
        stack = Stack(
            reference=reference,
            base=base,
            layers=scale.stack_layers,
            candidates=scale.candidates,
            iterations=scale.stack_iterations,
            seed=seed,
        )
        networks: dict[str, Recipe | Stack] = {"stacked": stack, "plain": base}
        networks |= setting.trained_networks
        for name, network in networks.items():
            for layer in scale.variation_layers:
                parts[f"{name}-{seed}-{layer}"] = Inversion(
                    picture=picture,
                    network=network,
                    layer=layer,
                    iterations=scale.variation_iterations,
                    seed=seed,
                )
    return parts


def _content(setting: Setting, results: Results) -> Content:
    scale = setting.scale
    layers, seeds = scale.variation_layers, range(scale.seeds)
    names = ["stacked", "plain", *setting.trained_networks]
    samples = {
        name: [
            [results[f"{name}-{s}-{layer}"].numbers["distance"] for s in seeds] for layer in layers
        ]
        for name in names
    }
    # The verdicts come from one test over all layers; those of single layers are for information.
    scores = _scores(samples, ("stacked", "plain"))
    overall = compare(scores["stacked"], scores["plain"])
    by_layer = {
        layer: compare(samples["stacked"][number], samples["plain"][number])
        for number, layer in enumerate(layers)
    }
    picture = _picture(setting)
    rows = [
        TileRow(
            name,
            [
                picture_tile(picture),
                *(
                    _tile(f"{name}-{seed}-{layer}", layer, seed, results)
                    for layer in layers
                    for seed in seeds[:SHOWN]
                ),
            ],
        )
        for name in names
    ]
    spread, location = compare_verdicts(overall)
    chart = BoxChart(
        f"Distances over {scale.seeds} seeds",
        "distance, levels of 255",
        layers,
        samples,
        f"quartiles of distances by layer; {spread.measured}; {location.measured}",
    )
    return Content(
        caption=f"Mean Euclidean distance of reconstructions of {picture.name} over {scale.seeds} "
        "seeds of the weights: extremes, quartiles and means.",
        rows=rows,
        charts=[chart],
        tables=[
            Table(
                "Minimum, quartiles and maximum of the distance",
                ("layer", *names),
                [
                    (
                        layer,
                        *(
                            " .. ".join(f"{x:.1f}" for x in quantiles(samples[name][number]))
                            for name in names
                        ),
                    )
                    for number, layer in enumerate(layers)
                ],
            ),
            Table(
                "Stacked compared with plain",
                ("layer", "spread ratio", "p of spread (paired)", "median difference", "p"),
                [_row(label, c) for label, c in {"all": overall, **by_layer}.items()],
            ),
        ],
        verdicts=[spread, location, _against_trained(samples, layers)],
        numbers={
            "distances": {name: dict(zip(layers, samples[name], strict=True)) for name in names},
            "scores": scores,
            "overall": dataclasses.asdict(overall),
            "layers": {layer: dataclasses.asdict(found) for layer, found in by_layer.items()},
        },
        remarks=[
            f"Stacks were selected from {scale.candidates} draws of "
            f"{', '.join(scale.stack_layers)} on another photo, {_reference(setting).name}, at "
            f"{scale.stack_size} pixels with {scale.stack_iterations} iterations."
        ],
    )


def _picture(setting: Setting) -> Picture:
    scale = setting.scale
    return setting.pictures.get("photo", scale.further_photos, scale.variation_size)


def _reference(setting: Setting) -> Picture:
    return setting.pictures.get("photo", 0, setting.scale.stack_size)


def compare_verdicts(found: Comparison) -> tuple[Verdict, Verdict]:
    """Return the verdicts on spread and distance of stacked and plain networks."""
    narrower: bool | None = None
    if found.spread_p < SIGNIFICANT:
        narrower = found.spread_ratio is not None and found.spread_ratio < 1
    nearer = found.median_difference < 0 if found.location_p < SIGNIFICANT else None
    return (
        judge(
            _SPREAD,
            narrower,
            f"the spread of stacked is {decimals(found.spread_ratio, 2)} times that of plain, "
            f"p = {found.spread_p:.2g}; paired permutation test p = {found.paired_spread_p:.2g}",
        ),
        judge(
            _LOCATION,
            nearer,
            f"median of stacked minus plain {found.median_difference:+.3f} of the median distance, "
            f"p = {found.location_p:.2g}",
        ),
    )


def _scores(
    samples: Mapping[str, Sequence[Sequence[float]]], names: Sequence[str]
) -> dict[str, list[float]]:
    """Return for each seed the mean over layers of its distance, divided by the layer's median."""
    medians = np.median(np.concatenate([np.asarray(samples[n]) for n in names], axis=1), axis=1)
    safe = np.where(medians > 0, medians, 1.0)
    return {
        name: (np.asarray(samples[name]) / safe[:, np.newaxis]).mean(axis=0).tolist()
        for name in names
    }


def _against_trained(
    samples: Mapping[str, Sequence[Sequence[float]]], layers: Sequence[str]
) -> Verdict:
    if "trained" not in samples:
        return judge(_TRAINED, None, NO_TRAINED)
    holds, details = True, []
    for number, layer in enumerate(layers):
        found = {name: quantiles(rows[number]) for name, rows in samples.items()}
        limit = found["trained"]
        for name in ("stacked", "plain"):
            low, middle, high = found[name][1:4]
            holds &= middle < limit[2] and high - low < limit[3] - limit[1]
        details.append(f"{layer}: " + ", ".join(f"{n} {q[2]:.1f}" for n, q in found.items()))
    return judge(_TRAINED, holds, "median distances " + "; ".join(details))


def _row(label: str, found: Comparison) -> tuple[str, ...]:
    return (
        label,
        decimals(found.spread_ratio, 2),
        f"{found.spread_p:.2g} ({found.paired_spread_p:.2g})",
        f"{found.median_difference:+.3f}",
        f"{found.location_p:.2g}",
    )


def _tile(key: str, layer: str, seed: int, results: Results) -> Tile:
    return dataclasses.replace(
        inversion_tile(key, layer, results[key]), label=f"{layer}, seed {seed}"
    )


FIGURE_6 = Figure(6, "Variation over samples", _parts, _content)
