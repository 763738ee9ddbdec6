"""The gallery: which pictures it shows, the command of each, and what is to be seen in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = ("astronaut", "coffee", "brick", "gravel", "grass")
"""Sample images that are shown beside the results, from `examples/`."""

SHOWN_SIZE = 256
"""Longest side of a shown sample, in pixels."""

HEADER = """# Gallery

What `rwgen` makes of the images in [`examples/`](../examples/README.md), with networks that were
never trained. Below each picture is the command that made it, to be given in the top folder of this
repository, and what is good in it and what is not. None was chosen among several seeds. Commands
write PNG; the pictures here are the same pixels as JPEG of quality {quality}.

`python benchmarks/pictures.py` makes the pictures and this page, and makes no picture again whose
command has not changed (`--force` does). The figures below each command are from
[its record](../benchmarks/results/pictures.json), which holds versions and hardware too; seconds
are those of the search, on a machine that others used as well.
"""


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery.

    Attributes:
        title: its heading.
        command: what makes it, in the top folder; it writes `NAME.png`, and the picture is NAME.
        seen: what is good in it and what falls short.
    """

    title: str
    command: str
    seen: str

    @property
    def name(self) -> str:
        """File name of the picture, without suffix."""
        words = shlex.split(self.command)
        return Path(words[words.index("-o") + 1]).stem

    @property
    def sources(self) -> list[str]:
        """Names of the sample images that it is made from."""
        words = shlex.split(self.command)
        return [Path(word).stem for word in words if word.startswith("examples/")]


SECTIONS: dict[str, tuple[Picture, ...]] = {
    "Styles": (
        Picture(
            "A photo in the style of a photo",
            "rwgen style examples/astronaut.jpg examples/coffee.jpg -o style.png",
            "The face, the patch and the shuttle are plain, and everything has the cup's "
            "browns and oranges; the flag's blue is gone. Flat parts, such as the wall, are "
            "speckled at full size.",
        ),
        Picture(
            "The same two, the other way round",
            "rwgen style examples/coffee.jpg examples/astronaut.jpg -o style-coffee.png",
            "The astronaut's orange, black and white in large patches. Cup and saucer keep their "
            "shape; the spoon is a blot.",
        ),
        Picture(
            "Less of the scene",
            "rwgen style examples/astronaut.jpg examples/coffee.jpg --content-weight 20 "
            "-o style-loose.png",
            "A fifth of the default weight: paint runs over edges, highlights bleed into the "
            "wall, the letters of the name tag are lost. The person is still there.",
        ),
        Picture(
            "A texture as a style",
            "rwgen style examples/coffee.jpg examples/grass.jpg -o style-grass.png",
            "Grass has no colour, so the coffee loses its own; of the scene only edges are "
            "left, the rim first. Pale, dense textures rule whatever they are laid on.",
        ),
        Picture(
            "Two styles",
            "rwgen style examples/astronaut.jpg examples/coffee.jpg examples/gravel.jpg "
            "--style-blend 2,1 -o style-blend.png",
            "Two parts coffee, one part gravel, as one target: browns on the suit, grey grain on "
            "the wall. Blues come back, as grey leaves the photo's own colours more room. Dark "
            "parts have bright specks.",
        ),
        Picture(
            "The paper's settings, read literally",
            "rwgen style examples/astronaut.jpg examples/coffee.jpg --content-weight 30000 "
            "--tv-weight 20000000 --weighting signed --no-shift-features --octaves 0 "
            "-o style-literal.png",
            "The photo comes back, smooth and with its own colours: the content's weight in "
            'eq. 9 leaves no room for a style ([math.md](math.md), "The ratio of eq. 9").',
        ),
    ),
    "Textures": (
        Picture(
            "Bricks",
            "rwgen texture examples/brick.jpg -o texture.png --size 256x256 --iterations 300",
            "Whole bricks in columns with joints that meet. The joints are less straight than "
            "the wall's, and some end in nothing.",
        ),
        Picture(
            "Bricks by the paper's Gram matrices",
            "rwgen texture examples/brick.jpg --no-shift-features --octaves 0 --iterations 300 "
            "-o texture-literal.png",
            "The same network without shifted Gram matrices and on one size: short dashes in "
            "all sizes, in grey that drifts from blue to yellow.",
        ),
        Picture(
            "Gravel, of twice the source's size",
            "rwgen texture examples/gravel.jpg --source-size 128 --size 256x256 "
            "-o texture-gravel.png",
            "Stones of one size all over, none at its place in the source. Seen closely they "
            "are softer than real ones, with specks of colour between them.",
        ),
        Picture(
            "Grass",
            "rwgen texture examples/grass.jpg --size 256x192 -o texture-grass.png",
            "Blades that cross and overlap, tufts of several sizes. Single blades are shorter "
            "and more crooked than in the photo.",
        ),
    ),
    "Inversions": (
        Picture(
            "From conv2_1",
            "rwgen invert examples/astronaut.jpg --layer conv2_1 --size 192 -o invert-conv2_1.png",
            "Nothing tells it from the photo.",
        ),
        Picture(
            "From conv4_1",
            "rwgen invert examples/coffee.jpg --layer conv4_1 -o invert.png --json",
            "A photograph with a light grain.",
        ),
        Picture(
            "From pool5",
            "rwgen invert examples/astronaut.jpg --layer pool5 --size 192 -o invert-pool5.png",
            "Person, suit, patch, flag and shuttle in coarse noise; the face is a mask. More "
            'iterations would clear it ([math.md](math.md), "What each layer keeps").',
        ),
        Picture(
            "From pool5, without biases",
            "rwgen invert examples/astronaut.jpg --layer pool5 --size 192 --octaves 0 "
            "--network ranvgg19-zero-bias --parameterization pixel -o invert-literal.png",
            "The paper's plain search in a network without biases: coloured noise with a "
            "shimmer of orange where the suit is.",
        ),
    ),
}
"""The pictures by the heading of the page's section."""

PICTURES = {picture.name: picture for section in SECTIONS.values() for picture in section}
"""The same by name."""


def page(runs: dict[str, dict[str, Any]], quality: int) -> str:
    """The gallery as Markdown.

    Args:
        runs: for each picture's name, what its run printed with `--json`.
        quality: of the JPEG files.
    """
    lines = [HEADER.format(quality=quality), "## Samples", ""]
    lines += [" ".join(f"![{name}](images/{name}.jpg)" for name in SOURCES), ""]
    for heading, pictures in SECTIONS.items():
        lines += [f"## {heading}", ""]
        for picture in pictures:
            lines += [
                f"### {picture.title}",
                "",
                f"![{picture.title}](images/{picture.name}.jpg)",
                "",
                "```sh",
                picture.command,
                "```",
                "",
                f"{_figures(runs[picture.name])}. {picture.seen}",
                "",
            ]
    return "\n".join(lines)


def _figures(run: dict[str, Any]) -> str:
    text = f"{run['width']}x{run['height']}, {run['iterations']} iterations"
    text += f", {run['seconds']:.0f} s"
    if "psnr" in run:
        text += f", PSNR {run['psnr']:.1f} dB, SSIM {run['ssim']:.2f}"
    return text
