"""Options that several commands share; defaults come from `rwgen.synthesis.config`."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Annotated

import typer

from rwgen.errors import InvalidInputError
from rwgen.seeds import MAX_SEED

DEFAULT_SIZE = 256
"""Longest side, in pixels, that images are resized to: minutes on two cores (docs)."""

MAX_SIDE = 16_384
"""Longest side, in pixels, that can be asked for."""

Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Image to write: .png, .jpg, .webp or .tif; - writes a PNG to standard output.",
    ),
]
Iterations = Annotated[int, typer.Option(min=0, metavar="N", help="L-BFGS iterations at the most.")]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        max=MAX_SEED,
        metavar="N",
        help="Decides the white noise that the search starts from. The weights are the network's.",
    ),
]
Network = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="A shipped network, imagenet (trained, downloaded by Keras), a recipe (.json), or "
        "weights of Keras' VGG-19 (.h5, .keras).",
    ),
]
WeightingName = Annotated[
    str,
    typer.Option(
        metavar="magnitude|signed",
        help="How equations 4 and 8 average gradients; signed is literal.",
    ),
]
Parameterization = Annotated[
    str,
    typer.Option(
        metavar="pixel|fourier|box|fourier-box",
        help="What the search moves: pixels, as in the paper, or frequencies, coarse ones further; "
        "a box keeps it among valid pixels.",
    ),
]
ParameterizationByLayer = Annotated[
    str | None,
    typer.Option(
        "--parameterization",
        metavar="pixel|fourier|box|fourier-box",
        help="What the search moves: pixels, as in the paper, or frequencies, coarse ones further; "
        "a box keeps it among valid pixels.",
        show_default="by layer",
    ),
]
Octaves = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=10,
        metavar="N",
        help="Coarse to fine: begin on an image halved N times; 0 is the paper.",
        show_default="by size",
    ),
]
ShiftFeatures = Annotated[
    bool,
    typer.Option(
        help="Subtract the target's mean features before correlations; --no-... is the paper."
    ),
]
UnitActivations = Annotated[
    bool,
    typer.Option(
        "--unit-activations",
        help="Rescale weights until every filter's mean activation over the images is one, as "
        "Gatys et al. do with trained weights.",
    ),
]
LongestSide = Annotated[
    int,
    typer.Option(min=1, max=MAX_SIDE, metavar="PIXELS", help="Longest side of the result."),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE.png",
        help="Take inputs and settings from an image that this command made; whatever is given "
        "beside it replaces them.",
    ),
]
SaveEvery = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="Write the best image so far every N iterations, as FILE-00000N; 0 writes none.",
    ),
]
History = Annotated[
    str | None,
    typer.Option(metavar="FILE.csv", help="Write losses and times of every iteration."),
]
Logdir = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Write losses, gradient norm and images for TensorBoard."),
]
CheckpointFolder = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep the state of the search there, as search.npz. After a crash or Ctrl-C the same "
        "command goes on from it, to the same image; once that is written, the file is removed.",
    ),
]
CheckpointEvery = Annotated[
    int, typer.Option(min=1, metavar="N", help="Iterations between two writes of --checkpoint.")
]
MemoryLimit = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="Memory that may be taken, such as 12GiB or 800MB. Features that do not fit are "
        "computed again: half as slow again.",
        show_default="what is free",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|gpu:N",
        help="Where to compute; auto takes the first GPU, or else the CPU.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from `WIDTHxHEIGHT`, or from one number for a square.

    Raises:
        InvalidInputError: not of that form, or a side out of range.
    """
    match = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", text, flags=re.ASCII)
    if match:
        width, height = int(match[1]), int(match[2] or match[1])
        if 1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE:
            return height, width
    raise InvalidInputError(
        f"--size: expected WIDTHxHEIGHT in pixels, such as 256x256, up to {MAX_SIDE} a side. "
        f"Received: {text!r}"
    )


def parse_memory(text: str) -> int:
    """Bytes from a number with a unit: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, in any case.

    Raises:
        InvalidInputError: not of that form, or nothing.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) ?([kmgt]?)(i?)b", text.lower(), flags=re.ASCII)
    if match and (match[2] or not match[3]):
        power = " kmgt".index(match[2] or " ")
        unit: int = (1024 if match[3] else 1000) ** power
        count = math.floor(Fraction(match[1]) * unit)
        if count:
            return count
    raise InvalidInputError(
        "--memory-limit: expected a number with a unit, such as 12GiB or 800MB. "
        f"Received: {text!r:.60}"
    )


def parse_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers from a comma-separated list; an empty text gives none.

    Raises:
        InvalidInputError: something is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise InvalidInputError(
            f"{option}: expected numbers with commas between them, such as 2,1. Received: {text!r}"
        ) from None
