"""Figures 2, 3, 4 and 7: what each layer retains of a photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from rwgen.network.architecture import VGG19
from rwgen.reproduction.parts import ImagePart
from rwgen.reproduction.report import (
    NO_TRAINED,
    Claim,
    Content,
    Line,
    LineChart,
    Table,
    TileRow,
    Verdict,
    decimals,
    judge,
)
from rwgen.reproduction.setting import (
    Figure,
    Parts,
    Results,
    Setting,
    inversion_name,
    inversion_tile,
    picture_tile,
)

ACCURATE_SSIM = 0.5
"""Smallest structural similarity of an accurate reconstruction; the paper gives no number."""

ROUGH_CORRELATION = 0.5
"""Smallest correlation of 16x16 luminances at which rough contours count as visible."""

_ACCURATE = Claim(
    "All convolutional and pooling layers retain photographically accurate information about the "
    "image.",
    f"The structural similarity (SSIM) of every such layer's reconstruction is at least "
    f"{ACCURATE_SSIM}.",
)
_DENSE = Claim(
    "We could still see the rough contours from the first two fully connected layers.",
    f"The correlation of luminances scaled to 16x16 pixels is at least {ROUGH_CORRELATION}.",
)
_HIGHER = Claim(
    "ranVGG demonstrates a higher perceptive quality [than the pretrained VGG], especially on the "
    "higher layers.",
    "At every pool, the stacked network's PSNR is above the trained one's (median over photos).",
)
_NO_CONTOURS = Claim(
    "The pretrained VGG could rarely reconstruct even the contours from representations of the "
    "fifth pooling layer.",
    "For most photos, the correlation of luminances scaled to 16x16 pixels is below "
    f"{ROUGH_CORRELATION} at its highest pool.",
)
_DISTANCES = Claim(
    "Mean Euclidean distances on ranVGG.",
    "The paper says no more about this figure. By figure 2, convolutions and pools retain the "
    "image: at each of them, the distance is below that of a plain image of its mean color.",
)


_WITHOUT_ALEXNET = (
    "The paper's third row, inversions of AlexNet by Mahendran and Vedaldi, is not reproduced."
)


def _all_layers(setting: Setting) -> tuple[str, ...]:
    return (*setting.scale.layers, *setting.scale.dense_layers)


def _every_layer(setting: Setting) -> dict[str, ImagePart]:
    """Return the parts of figure 2 by layer."""
    return {layer: setting.inversion(0, layer, setting.stacked) for layer in _all_layers(setting)}


def _accuracy(setting: Setting, results: Results) -> Content:
    layers = setting.scale.layers
    photo = setting.photo(0, layers[0])
    tiles = [
        picture_tile(photo),
        *(inversion_tile(layer, layer, results[layer]) for layer in _all_layers(setting)),
    ]
    similar = {layer: results[layer].numbers["ssim"] for layer in layers}
    known = {layer: value for layer, value in similar.items() if value is not None}
    poor = [layer for layer, value in known.items() if value < ACCURATE_SSIM]
    measured = "SSIM " + ", ".join(f"{layer} {value:.2f}" for layer, value in known.items())
    verdicts = [judge(_ACCURATE, not poor if known else None, measured)]
    if setting.scale.dense_layers:
        rough = {
            layer: results[layer].numbers["coarse_correlation"]
            for layer in setting.scale.dense_layers
        }
        seen = [value is not None and value >= ROUGH_CORRELATION for value in rough.values()]
        details = ", ".join(f"{layer} {decimals(value, 2)}" for layer, value in rough.items())
        verdicts.append(judge(_DENSE, all(seen), f"correlation {details}"))
    return Content(
        caption=f"The photo {photo.name} reconstructed from each layer of the stacked network. "
        "PSNR and SSIM are below each image.",
        rows=[TileRow("Stacked network", tiles)],
        verdicts=verdicts,
        remarks=_dense_remark(setting),
    )


def _dense_remark(setting: Setting) -> list[str]:
    if not setting.scale.dense_layers:
        return []
    return [
        f"{', '.join(setting.scale.dense_layers)} use images of 256x256 pixels, other layers of "
        f"{setting.scale.size}x{setting.scale.size}."
    ]


def _further(setting: Setting) -> list[int]:
    return list(range(1, 1 + setting.scale.further_photos))


def _compare_pools(setting: Setting, results: Results, photos: Sequence[int]) -> Content:
    pools, networks = setting.scale.pools, list(setting.inverted_networks)
    rows = []
    for photo in photos:
        picture = setting.photo(photo, pools[0])
        for name in networks:
            tiles = [
                inversion_tile(key := inversion_name(photo, layer, name), layer, results[key])
                for layer in pools
            ]
            rows.append(TileRow(f"{picture.name}, {name}", [picture_tile(picture), *tiles]))

    def median(name: str, layer: str, number: str) -> float | None:
        found = [results[inversion_name(p, layer, name)].numbers[number] for p in photos]
        known = [value for value in found if value is not None]
        return float(np.median(known)) if known else None

    table = Table(
        "PSNR / SSIM, median over photos",
        ("layer", *networks),
        [
            (
                layer,
                *(
                    f"{decimals(median(name, layer, 'psnr'), 1, ' dB')} / "
                    f"{decimals(median(name, layer, 'ssim'), 2)}"
                    for name in networks
                ),
            )
            for layer in pools
        ],
    )
    rival = networks[1]
    gains = {
        layer: (median("stacked", layer, "psnr") or 0) - (median(rival, layer, "psnr") or 0)
        for layer in pools
    }
    details = ", ".join(f"{layer} {gain:+.1f} dB" for layer, gain in gains.items())
    measured = f"PSNR, stacked minus {rival}: {details}"
    if rival != "trained":
        measured = f"{NO_TRAINED}; {measured}"
    above = all(gain > 0 for gain in gains.values()) if rival == "trained" else None
    return Content(
        caption=f"Each pool of the stacked and the {rival} network.",
        rows=rows,
        tables=[table],
        verdicts=[judge(_HIGHER, above, measured)],
        numbers={"psnr_gain": gains},
    )


def _first_photo(setting: Setting) -> Parts:
    return setting.inversions([0], setting.scale.pools, setting.inverted_networks)


def _compare_first_photo(setting: Setting, results: Results) -> Content:
    content = _compare_pools(setting, results, [0])
    return dataclasses.replace(content, remarks=[_WITHOUT_ALEXNET])


def _further_photos(setting: Setting) -> Parts:
    return setting.inversions(_further(setting), setting.scale.pools, setting.inverted_networks)


def _compare_further_photos(setting: Setting, results: Results) -> Content:
    content = _compare_pools(setting, results, _further(setting))
    verdict = _contours_of_trained(setting, results)
    return dataclasses.replace(content, verdicts=[*content.verdicts, verdict])


def _contours_of_trained(setting: Setting, results: Results) -> Verdict:
    if setting.trained is None:
        return judge(_NO_CONTOURS, None, NO_TRAINED)
    highest = VGG19.deepest(setting.scale.pools).name
    found = [
        results[inversion_name(photo, highest, "trained")].numbers["coarse_correlation"] or 0.0
        for photo in _further(setting)
    ]
    details = ", ".join(f"{value:.2f}" for value in found)
    low = sum(value < ROUGH_CORRELATION for value in found)
    return judge(_NO_CONTOURS, 2 * low > len(found), f"correlations at {highest}: {details}")


def _all_distances(setting: Setting) -> Parts:
    stacked = {"stacked": setting.stacked}
    further = setting.inversions(_further(setting), setting.scale.pools, stacked)
    return {**_every_layer(setting), **further}


def _distances(setting: Setting, results: Results) -> Content:
    layers, pools = _all_layers(setting), setting.scale.pools
    depth = [spec.name for spec in VGG19.layers() if spec.name in layers]
    first = [results[layer].numbers["distance"] for layer in depth]
    plain = [results[layer].numbers["distance_of_plain"] for layer in depth]
    means = {}
    for layer in (layer for layer in pools if layer in results):
        rest = [results[inversion_name(p, layer, "stacked")] for p in _further(setting)]
        found = [result.numbers["distance"] for result in (results[layer], *rest)]
        means[layer] = float(np.mean(found))
    name = setting.photo(0, depth[0]).name
    lines = [
        Line(f"{name}, every layer", range(len(depth)), first),
        Line(
            "mean of all photos, pools", [depth.index(layer) for layer in means], [*means.values()]
        ),
        Line("plain image of the mean color", range(len(depth)), plain, dashed=True),
    ]
    below = {
        layer: distance < limit
        for layer, distance, limit in zip(depth, first, plain, strict=True)
        if layer in setting.scale.layers
    }
    worst = max(setting.scale.layers, key=lambda layer: first[depth.index(layer)])
    rank = float(stats.spearmanr(range(len(depth)), first).statistic) if len(depth) > 2 else None
    measured = (
        f"largest at {worst}: {first[depth.index(worst)]:.1f} of 255, plain image "
        f"{plain[depth.index(worst)]:.1f}; rank correlation of distance and depth "
        f"{decimals(rank, 2)}"
    )
    return Content(
        caption="Mean Euclidean distance of pixels between photo and reconstruction, RGB in "
        "0..255, for each layer of the stacked network.",
        charts=[
            LineChart(
                "Mean distance by layer",
                "layer",
                "distance, levels of 255",
                lines,
                f"distance of reconstructions over layers; {measured}",
                ticks=depth,
            )
        ],
        tables=[
            Table(
                "Mean Euclidean distance, levels of 255",
                ("layer", name, "mean of all photos"),
                [
                    (layer, decimals(value), decimals(means.get(layer)))
                    for layer, value in zip(depth, first, strict=True)
                ],
            )
        ],
        verdicts=[judge(_DISTANCES, all(below.values()), measured)],
        numbers={"mean_distance": means, "rank_correlation_with_depth": rank},
        remarks=_dense_remark(setting),
    )


FIGURE_2 = Figure(2, "One photo from every layer", _every_layer, _accuracy)
FIGURE_3 = Figure(3, "Pools of one photo", _first_photo, _compare_first_photo)
FIGURE_4 = Figure(4, "Pools of more photos", _further_photos, _compare_further_photos)
FIGURE_7 = Figure(7, "Mean distance of every layer", _all_distances, _distances)
