"""Figure 5: how fast inversions approach their photo."""

from __future__ import annotations

from rwgen.reproduction.report import (
    NO_TRAINED,
    Claim,
    Content,
    Line,
    LineChart,
    Table,
    Tile,
    TileRow,
    decimals,
    judge,
)
from rwgen.reproduction.setting import (
    Figure,
    Parts,
    Results,
    Setting,
    inversion_name,
    picture_tile,
)
from rwgen.reproduction.store import PartResult

EARLY = 100
"""Iterations after which the paper judges untrained reconstructions."""

SETTLED = 1.1
"""Largest ratio of a distance to the final one at which a search counts as converged."""

_QUICKLY = Claim(
    "The process on the untrained ranVGG converges quickly and yields higher quality results "
    "within 100 iterations.",
    f"For every photo, the distance after {EARLY} iterations is at most {SETTLED:g} times that at "
    f"the end of a search of at least {2 * EARLY} iterations.",
)
_BEFORE_TRAINED = Claim(
    "[Its results within 100 iterations are of higher quality] as compared with the final results "
    "after 2000 iterations on the pretrained VGG.",
    f"For every photo, the distance after {EARLY} iterations is below the trained network's at the "
    "end.",
)
_PHOTOS = (0, 1)


def _parts(setting: Setting) -> Parts:
    return setting.inversions(_PHOTOS, [setting.scale.curve_layer], setting.inverted_networks)


def _at(result: PartResult, iteration: int) -> float | None:
    """Return the distance after an iteration, or None if the search was shorter."""
    history = result.history
    for number, distance in zip(history["iteration"], history["distance"], strict=True):
        if number == iteration:
            return distance
    return None


def _content(setting: Setting, results: Results) -> Content:
    layer = setting.scale.curve_layer
    rows, table, charts = [], [], []
    early_shares, early, ends = [], [], []
    curves: dict[str, list[Line]] = {"distance": [], "loss": []}
    rival = "plain" if setting.trained is None else "trained"
    for photo in _PHOTOS:
        picture = setting.photo(photo, layer)
        for name in ("stacked", rival):
            key = inversion_name(photo, layer, name)
            result = results[key]
            label, dashed = f"{picture.name}, {name}", name != "stacked"
            rows.append(TileRow(label, [picture_tile(picture), *_tiles(key, result)]))
            iterations = result.history["iteration"][1:]  # a logarithmic axis has no zero
            curves["distance"].append(
                Line(label, iterations, result.history["distance"][1:], dashed)
            )
            loss = result.history["loss"]
            shares = [value / loss[0] for value in loss] if loss[0] else loss
            curves["loss"].append(Line(label, iterations, shares[1:], dashed))
            first, end = _at(result, EARLY), result.history["distance"][-1]
            last = int(result.history["iteration"][-1])
            table.append((label, decimals(first), f"{end:.1f} ({last})"))
            if name == "stacked":
                early.append(first)
                early_shares.append(first / end if first and last >= 2 * EARLY else None)
            else:
                ends.append(end)
    details = ", ".join(decimals(share, 2) for share in early_shares)
    quickly = None if None in early_shares else max(x for x in early_shares if x) <= SETTLED
    compared = "; ".join(
        f"{decimals(first)} after {EARLY} iterations, {rival} {end:.1f} at the end"
        for first, end in zip(early, ends, strict=True)
    )
    sooner = None
    if rival == "trained" and None not in early:
        sooner = all(a is not None and a < b for a, b in zip(early, ends, strict=True))
    if rival != "trained":
        compared = f"{NO_TRAINED}; {compared}"
    for number, label in (("distance", "distance, levels of 255"), ("loss", "loss / first loss")):
        charts.append(
            LineChart(
                f"{number.capitalize()} over iterations, {layer}",
                "iteration",
                label,
                curves[number],
                f"{number} of inversions of {layer} over iterations: {compared}",
                log_x=True,
                log_y=number == "loss",
            )
        )
    return Content(
        caption=f"Inversions of {layer}: mean Euclidean distance to the photo and loss over "
        "L-BFGS iterations, with intermediate images.",
        rows=rows,
        charts=charts,
        tables=[
            Table(
                "Mean Euclidean distance to the photo, levels of 255",
                ("search", f"after {EARLY} iterations", "at the end (iterations)"),
                table,
            )
        ],
        verdicts=[
            judge(
                _QUICKLY,
                quickly,
                f"ratio of distances after {EARLY} iterations and at the end: {details}",
            ),
            judge(_BEFORE_TRAINED, sooner, compared),
        ],
        numbers={"early_by_end": early_shares},
        remarks=["Losses of different networks differ in scale; distances are comparable."],
    )


def _tiles(key: str, result: PartResult) -> list[Tile]:
    history = dict(zip(result.history["iteration"], result.history["distance"], strict=True))
    return [
        Tile(
            result.snapshot(number),
            f"{key}-{number:06d}",
            f"{number}",
            f"distance {history[number]:.1f}",
            f"after {number} iterations, at a distance of {history[number]:.1f}",
        )
        for number in result.snapshots
    ]


FIGURE_5 = Figure(5, "Convergence", _parts, _content)
