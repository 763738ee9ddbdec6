"""Options that several commands share; defaults come from the configurations."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from rwgen.cli.option_file import option_values, read_toml
from rwgen.compute.device import AUTO
from rwgen.errors import InvalidInputError
from rwgen.optimize.checkpoint import DEFAULT_EVERY
from rwgen.seeds import MAX_SEED
from rwgen.synthesis.config import DEFAULT_SIZE as DEFAULT_SIZE

MAX_SIDE = 16_384
"""Longest side, in pixels, that can be asked for."""

MAX_VARIATIONS = 1000
"""Most images that can be made of one command."""


def image_output(default: str) -> Any:
    """The option of the image to write.

    Args:
        default: what the file is called without it, for `--help`.
    """
    option = typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Image to write: .png, .jpg, .webp or .tif; - writes a PNG to standard output.",
        show_default=default,
    )
    return Annotated[str, option]


LongestSide = Annotated[
    int,
    typer.Option(min=1, max=MAX_SIDE, metavar="PIXELS", help="Longest side of the result."),
]
Iterations = Annotated[int, typer.Option(min=0, metavar="N", help="Maximum number of iterations.")]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        max=MAX_SEED,
        metavar="N",
        help="Seed of the noise that the search starts from. Weights have the network's seed.",
    ),
]
Octaves = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=10,
        metavar="N",
        help="Coarse to fine: start on an image halved N times; the paper does not (0).",
        show_default="by size",
    ),
]
Margin = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="PIXELS",
        help="Search this far beyond each border, then cut it off: a network mirrors an image "
        "there, and borders look different. At most an eighth of the shorter side; 0: the paper. "
        "Tiles and filled holes have none.",
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
NetworkSeed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_SEED,
        metavar="N",
        help="Draw the weights of the network from another seed: another picture of the same kind.",
        show_default="the network's",
    ),
]
WeightingName = Annotated[
    str,
    typer.Option(
        metavar="magnitude|signed",
        help="How layers are brought to equal influence: by the mean size of their gradients or, "
        "as in the paper, by the size of their mean.",
    ),
]
_PARAMETERIZATION_HELP = (
    "What the search moves: pixels, as in the paper, or frequencies, low ones further; a box keeps "
    "pixels in their valid range."
)
Parameterization = Annotated[
    str,
    typer.Option(
        metavar="pixel|fourier|box|fourier-box",
        help=_PARAMETERIZATION_HELP,
    ),
]
ParameterizationByLayer = Annotated[
    str | None,
    typer.Option(
        "--parameterization",
        metavar="pixel|fourier|box|fourier-box",
        help=_PARAMETERIZATION_HELP,
        show_default="by layer",
    ),
]
ShiftFeatures = Annotated[
    bool,
    typer.Option(
        help="Compare how features vary together around their means; the paper compares them "
        "around zero.",
    ),
]
WhitenGram = Annotated[
    bool,
    typer.Option(
        help="Give weak patterns of the style or texture nearly the weight of strong ones; the "
        "paper does not.",
    ),
]
PrecisionName = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="float32|tf32|bfloat16",
        help="Number format of convolutions: bfloat16 is faster on processors that have it, tf32 "
        "on GPUs; pictures are as good.",
    ),
]
Paper = Annotated[
    bool,
    typer.Option(
        "--paper",
        help="Use the paper's settings instead of the defaults; options given as well take "
        "precedence.",
    ),
]
UnitActivations = Annotated[
    bool,
    typer.Option(
        "--unit-activations",
        help="Rescale weights until the mean activation of every filter over the images is one, as "
        "Gatys et al. do with trained weights.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", "-f", help="Replace files that exist; otherwise they are refused."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only errors on standard error."),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on standard output."),
]


def _use_config(context: typer.Context, value: str | None) -> str | None:
    """Make the options of a file the defaults of the command; called before they are parsed."""
    if value is not None:
        path = Path(value)
        try:
            found = option_values(context.command, read_toml(path), path.parent)
        except InvalidInputError as error:
            raise InvalidInputError(f"--config: {error}") from None
        context.default_map = {**found, **(context.default_map or {})}
    return value


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every image command that do not change its image."""

    from_image: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE.png",
            help="Take inputs and settings from an image made by this command; arguments and "
            "options given as well take precedence.",
        ),
    ] = None
    bits: Annotated[
        int,
        typer.Option(
            metavar="8|16",
            help="Bits of each sample of the written image; 16 only in .png and .tif.",
        ),
    ] = 8
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.toml",
            is_eager=True,
            callback=_use_config,
            help="Take arguments and options by their names from a file, such as size = 256; those "
            "on the command line take precedence. Paths are relative to the file.",
        ),
    ] = None
    variations: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_VARIATIONS,
            metavar="N",
            help="Make N images, NAME-1.png and so on, with N seeds: of the noise, or of the "
            "network for a style, which starts from its content.",
        ),
    ] = 1
    memory_limit: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Memory that the run may take, such as 12GiB or 800MB. Features that do not fit "
            "are computed in tiles or recomputed, which takes longer.",
            show_default="what is free",
        ),
    ] = ""
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|gpu:N",
            help="Device to compute on; auto selects the first GPU, or else the CPU.",
        ),
    ] = AUTO
    save_every: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Write the best image so far every N iterations, as FILE-00000N; 0 disables it.",
        ),
    ] = 0
    animate: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.webp",
            help="Write how the image forms, as a .webp, .gif or .mp4 of up to 60 frames and 512 "
            "pixels.",
        ),
    ] = None
    history: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.csv",
            help="Write losses and times of every iteration.",
        ),
    ] = None
    logdir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Write losses, gradient norm and images for TensorBoard.",
        ),
    ] = None
    view: Annotated[
        bool,
        typer.Option(
            "--view",
            help="Show image and losses as they form on a page of this machine, with buttons that "
            "stop the search or save a copy; its address is printed.",
        ),
    ] = False
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.json",
            help="Write where the time goes: a trace for https://ui.perfetto.dev, and a table on "
            "standard error.",
        ),
    ] = None
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep the state of the search in FOLDER/search.npz. After a crash or Ctrl-C the "
            "same command resumes and ends with the same image, or, with more --iterations, "
            "continues to them. The file is removed once the image is written.",
        ),
    ] = None
    checkpoint_every: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Iterations between two writes of --checkpoint.",
        ),
    ] = DEFAULT_EVERY
    force: Force = False
    skip_done: Annotated[
        bool,
        typer.Option(
            "--skip-done",
            help="Do nothing if the image to write exists and was made from the same images, "
            "settings and weights.",
        ),
    ] = False
    quiet: Quiet = False
    json: Json = False


def layer_option(
    names: Sequence[str], text: str, default: str = "", panel: str | None = None
) -> Any:
    """An option of layers that may be repeated and takes commas.

    Args:
        names: names of the option.
        text: its help, without a final period.
        default: what `--help` shows as the default, if not empty.
        panel: its panel of `--help`.
    """
    option = typer.Option(
        *names,
        metavar="LAYER",
        help=f"{text}. May be repeated, or take several with commas.",
        show_default=default or False,
        rich_help_panel=panel,
    )
    return Annotated[list[str] | None, option]


def split_layers(values: Sequence[str] | None) -> tuple[str, ...]:
    """Names of layers from an option that may be repeated, without duplicates."""
    words = (word.strip() for value in values or () for word in value.split(","))
    return tuple(dict.fromkeys(words))


LAYER_NAMES = ("--layer", "--layers")
"""Names of the option of layers where a command has only one."""


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from `WIDTHxHEIGHT`, or from one number for a square.

    Raises:
        InvalidInputError: the text has another form, or a side is out of range.
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


def parse_bytes(option: str, text: str) -> int:
    """Bytes from a number with a unit: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, in any case.

    Raises:
        InvalidInputError: the text has another form, or the number is zero.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) ?([kmgt]?)(i?)b", text.lower(), flags=re.ASCII)
    if match and (match[2] or not match[3]):
        power = " kmgt".index(match[2] or " ")
        unit: int = (1024 if match[3] else 1000) ** power
        count = math.floor(Fraction(match[1]) * unit)
        if count:
            return count
    raise InvalidInputError(
        f"{option}: expected a number with a unit, such as 12GiB or 800MB. Received: {text!r:.60}"
    )


def parse_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers from a comma-separated list; an empty text has none.

    Raises:
        InvalidInputError: something is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise InvalidInputError(
            f"{option}: expected comma-separated numbers, such as 2,1. Received: {text!r}"
        ) from None
