"""The gallery: its pictures with their commands and descriptions."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = ("astronaut", "coffee", "village-street-in-auvers", "brick", "gravel", "grass")
"""Sample images from `examples/` that the page shows."""

SHOWN_SIZE = 256
"""Longest side of a shown sample in pixels."""

HEADER = """# Gallery

Pictures that `rwgen` makes from the images in [`examples/`](../examples/README.md), with networks
that were never trained. Below each picture are the command that made it, to be run in the top
folder of this repository, and its strengths and weaknesses. No picture was selected from several
seeds. The commands write PNG files; the pictures here are the same pixels as JPEG with quality
{quality}.

`python benchmarks/pictures.py` makes the pictures and this page. It skips pictures whose commands
are unchanged, unless `--force` is given. The numbers below each command come from the
[record](../benchmarks/results/pictures.json), which also has versions and hardware; seconds are
those of the search, on a shared machine.
"""


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery.

    Attributes:
        title: heading.
        command: command that makes it in the top folder; it writes `NAME.png`.
        seen: strengths and weaknesses of the picture.
    """

    title: str
    command: str
    seen: str

    @property
    def name(self) -> str:
        """File name of the picture without suffix."""
        words = shlex.split(self.command)
        return Path(words[words.index("-o") + 1]).stem

    @property
    def sources(self) -> list[str]:
        """Names of the sample images that the picture is made from."""
        words = shlex.split(self.command)
        return [Path(word).stem for word in words if word.startswith("examples/")]


SECTIONS: dict[str, tuple[Picture, ...]] = {
    "Styles": (
        Picture(
            "A photo in the style of a painting",
            "rwgen style examples/astronaut.jpg examples/village-street-in-auvers.jpg -o style.png",
            "Paint in every part: flat strokes on the suit, the painting's clouds and blues "
            "behind, its foliage in helmet, collar and hair. Face, patch, name tag and shuttle are "
            "crisp, and there are no dots.",
        ),
        Picture(
            "A still life in the same style",
            "rwgen style examples/coffee.jpg examples/village-street-in-auvers.jpg --size 256 "
            "-o style-coffee.png",
            "A cup as white as the painting's houses on a table of its sky, roofs and grass, in "
            "broad strokes that run along the rim. The saucer is orange here and green there.",
        ),
        Picture(
            "Less of the scene",
            "rwgen style examples/astronaut.jpg examples/village-street-in-auvers.jpg --size 256 "
            "--content-weight 20 -o style-loose.png",
            "A little over half the default weight: patches of roof, grass and cloud that pay no "
            "heed to suit and flag. The person and the patch are still clear.",
        ),
        Picture(
            "A texture as a style",
            "rwgen style examples/coffee.jpg examples/grass.jpg --size 256 -o style-grass.png",
            "The photo of grass is gray, so the coffee loses its colors; blades follow the wood "
            "and the rim. Cup and saucer look like glass.",
        ),
        Picture(
            "Two styles",
            "rwgen style examples/astronaut.jpg examples/village-street-in-auvers.jpg "
            "examples/coffee.jpg --style-blend 2,1 --size 256 -o style-blend.png",
            "Two parts painting and one part coffee, mixed into one target: the coffee's reds and "
            "browns on flag, suit and helmet, the painting's sky behind.",
        ),
        Picture(
            "The paper's settings, read literally",
            "rwgen style examples/astronaut.jpg examples/village-street-in-auvers.jpg --paper "
            "--size 256 -o style-literal.png",
            "The result is the photo, smoothed and in its own colors: the content weight in "
            'eq. 9 leaves no room for a style ([math.md](math.md), "The ratio of eq. 9").',
        ),
    ),
    "Textures": (
        Picture(
            "Bricks",
            "rwgen texture examples/brick.jpg -o texture.png --size 256x256 --source-size 256 "
            "--iterations 300",
            "Whole, smooth bricks in columns, whose long joints meet cross joints nearly "
            "everywhere. Columns bend, and some run together.",
        ),
        Picture(
            "Bricks by the paper's settings",
            "rwgen texture examples/brick.jpg --paper --size 256x256 --source-size 256 "
            "--iterations 300 -o texture-literal.png",
            "A network with biases, plain Gram matrices and a single size: scattered dashes and a "
            "few corners, in the wall's gray.",
        ),
        Picture(
            "Gravel at twice the size of the source",
            "rwgen texture examples/gravel.jpg --source-size 128 --size 256x256 "
            "-o texture-gravel.png",
            "Stones of uniform size with dark gaps between them, none at its position in the "
            "source, alike up to the borders.",
        ),
        Picture(
            "Grass",
            "rwgen texture examples/grass.jpg --size 256x192 --source-size 256 "
            "-o texture-grass.png",
            "Blades that cross and overlap, and tufts of several sizes. Single blades are shorter "
            "and more crooked than in the photo.",
        ),
    ),
    "Inversions": (
        Picture(
            "From conv2_1",
            "rwgen invert examples/astronaut.jpg --layer conv2_1 --size 192 -o invert-conv2_1.png",
            "Indistinguishable from the photo.",
        ),
        Picture(
            "From conv4_1",
            "rwgen invert examples/coffee.jpg --layer conv4_1 -o invert.png --json",
            "A photograph with slight grain.",
        ),
        Picture(
            "From pool5",
            "rwgen invert examples/astronaut.jpg --layer pool5 --size 192 -o invert-pool5.png",
            "Person, suit, patch, flag and shuttle in coarse noise; the face is a mask. More "
            'iterations reduce the noise ([math.md](math.md), "What each layer keeps").',
        ),
        Picture(
            "From pool5, without biases",
            "rwgen invert examples/astronaut.jpg --layer pool5 --size 192 --octaves 0 "
            "--network ranvgg19-zero-bias --parameterization pixel -o invert-literal.png",
            "The paper's pixel search in a network without biases: colored noise, with a "
            "trace of orange in place of the suit.",
        ),
    ),
}
"""Pictures by the heading of their section."""

PICTURES = {picture.name: picture for section in SECTIONS.values() for picture in section}
"""Pictures by name."""


def page(runs: dict[str, dict[str, Any]], quality: int) -> str:
    """Return the gallery as Markdown.

    Args:
        runs: output of each picture's run with `--json`, by the picture's name.
        quality: quality of the JPEG files.
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
