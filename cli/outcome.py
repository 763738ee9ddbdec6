"""What an image command tells the code that called it in the same process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Outcome:
    """Filled in by a command that finds it in its context, see `rwgen.cli.jobs`.

    Attributes:
        output: the image file to write.
        inputs: paths of the input images.
        skipped: whether nothing was done, because the image exists (`--skip-done`).
        variations: number of images that were asked for.
        seed: seed of the noise.
        network_seed: seed of the network's weights.
    """

    output: str = ""
    inputs: tuple[str, ...] = ()
    skipped: bool = False
    variations: int = 1
    seed: int = 0
    network_seed: int = 0
