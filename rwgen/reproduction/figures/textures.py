"""Figure 8: textures whose Gram matrices are matched at an increasing number of layers."""

from __future__ import annotations

import numpy as np

from rwgen.network.recipe import Recipe
from rwgen.reproduction.parts import Texture
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

ENOUGH = 0.8
"""Smallest share of the gain of all layers at which three layers count as high quality."""

CLOSE = 1.5
"""Largest ratio of distances at which two textures count as equally good."""

_MORE = Claim(
    "Increasing the number of layers on which we match the texture representation [...], we have "
    "higher organizations of the previous local structure.",
    "The distance to the source's patches (sliced Wasserstein, median over textures) decreases "
    "with each layer up to the third.",
)
_THIRD = Claim(
    "The joint matching of conv1_1, conv2_1, and conv3_1 (third row) already exhibits high quality "
    "texture representations.",
    f"Three layers give at least {ENOUGH:.0%} of the gain of all layers over the first one.",
)
_FOURTH = Claim(
    "Adding one more layer of conv4_1 [fourth row] could slightly improve the natural textures.",
    "The distance with all layers is below that with three layers.",
)
_TRAINED = Claim(
    "[Textures are] almost indistinguishable with the original texture and the synthesized texture "
    "on the trained VGG.",
    f"The distance (median over textures) is at most {CLOSE:g} times the trained network's.",
)
_NEAT = Claim(
    "Trained VGG generates slightly better textures on neatly arranged original textures.",
    "For the first texture (with scikit-image's images, a brick wall), the trained network's "
    "distance is smaller.",
)


def _sources(setting: Setting) -> list[Picture]:
    scale = setting.scale
    return [setting.pictures.get("texture", n, scale.texture_size) for n in range(scale.textures)]


def _rows(setting: Setting) -> dict[str, tuple[Recipe, tuple[str, ...]]]:
    """Return network and layers of each row by its name."""
    layers = setting.scale.style_layers
    rows = {
        f"to_{layers[count - 1]}": (setting.untrained, layers[:count])
        for count in range(1, len(layers) + 1)
    }
    for name, trained in setting.trained_networks.items():
        rows[f"{name}_to_{layers[-1]}"] = (trained, layers)
    return rows


def _parts(setting: Setting) -> Parts:
    return {
        f"texture_{number}-{row}": Texture(
            source=source,
            network=network,
            layers=layers,
            iterations=setting.scale.texture_iterations,
        )
        for number, source in enumerate(_sources(setting), start=1)
        for row, (network, layers) in _rows(setting).items()
    }


def _content(setting: Setting, results: Results) -> Content:
    sources, rows = _sources(setting), list(_rows(setting))
    numbers = range(1, 1 + len(sources))

    def median(row: str, name: str) -> float:
        return float(np.median([results[f"texture_{n}-{row}"].numbers[name] for n in numbers]))

    tiles = []
    for row, (_, layers) in _rows(setting).items():
        made = []
        for number, source in enumerate(sources, start=1):
            result = results[key := f"texture_{number}-{row}"]
            detail = f"patches {result.numbers['patches']:.2g}"
            description = f"texture of {source.name} with {', '.join(layers)}: {detail}"
            made.append(Tile(result.image, key, source.name, detail, description))
        network = "trained, " if row.startswith("trained") else ""
        tiles.append(TileRow(f"{network}{' + '.join(layers)}", made))
    tiles.append(TileRow("sources", [picture_tile(source) for source in sources]))

    untrained = [row for row in rows if not row.startswith("trained")]
    patches = [median(row, "patches") for row in untrained]
    details = ", ".join(f"{row} {x:.3g}" for row, x in zip(untrained, patches, strict=True))
    spectra = ", ".join(f"{median(row, 'spectrum'):.2f}" for row in untrained)
    measured = f"patches {details}; spectra differ by {spectra} dB"
    verdicts = [
        judge(_MORE, bool(np.all(np.diff(patches[:3]) < 0)), measured),
        *_upper_layers(patches, details),
    ]
    trained = [row for row in rows if row.startswith("trained")]
    if trained:
        limit = median(trained[0], "patches")
        measured = f"patches {patches[-1]:.3g}, trained {limit:.3g}"
        verdicts.append(judge(_TRAINED, patches[-1] <= CLOSE * limit, measured))
        first, other = (
            results[f"texture_1-{row}"].numbers["patches"] for row in (untrained[-1], trained[0])
        )
        verdicts.append(judge(_NEAT, other < first, f"patches {first:.3g}, trained {other:.3g}"))
    else:
        verdicts += [judge(claim, None, NO_TRAINED) for claim in (_TRAINED, _NEAT)]
    judged = ("patches", "spectrum", "covariances", "copies")
    return Content(
        caption="Textures from white noise. Each row matches the Gram matrices of one more layer "
        "of the untrained network.",
        rows=tiles,
        tables=[
            Table(
                "Distance to the source, median over textures: patches (sliced Wasserstein), "
                "spectrum (dB) and covariances under untrained networks of other seeds; and the "
                "share of copied patches",
                ("layers", *judged),
                [
                    (
                        row.replace("to_", "to "),
                        *(decimals(median(row, name), 3) for name in judged),
                    )
                    for row in rows
                ],
            )
        ],
        verdicts=verdicts,
        numbers={row: {name: median(row, name) for name in judged} for row in rows},
    )


def _upper_layers(patches: list[float], details: str) -> list[Verdict]:
    if len(patches) < 4:
        return [judge(claim, None, "fewer than four layers") for claim in (_THIRD, _FOURTH)]
    gain = patches[0] - patches[-1]
    share = (patches[0] - patches[2]) / gain if gain > 0 else None
    return [
        judge(
            _THIRD,
            share >= ENOUGH if share is not None else False,
            f"three layers give {decimals(share, 2)} of the gain; patches {details}",
        ),
        judge(_FOURTH, patches[3] < patches[2], f"patches {patches[2]:.3g} to {patches[3]:.3g}"),
    ]


FIGURE_8 = Figure(8, "Textures with more and more layers", _parts, _content)
