"""Contact sheets: labeled rows of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_LABEL_HEIGHT = 14
_GAP = 4

Cell = tuple[str, NDArray[Any]]
"""A label and an image [height, width, 3] in 0..255."""


def write_sheet(path: Path, rows: Sequence[Sequence[Cell]], quality: int = 90) -> None:
    """Write rows of labeled images as one file, without resizing."""
    width = max(image.shape[1] for row in rows for _, image in row) + _GAP
    heights = [max(image.shape[0] for _, image in row) + _LABEL_HEIGHT + _GAP for row in rows]
    sheet = Image.new("RGB", (width * max(map(len, rows)), sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, (label, image) in enumerate(row):
            draw.text((column * width, top), label, fill="black")
            pixels = np.rint(image).clip(0, 255).astype(np.uint8)
            sheet.paste(Image.fromarray(pixels), (column * width, top + _LABEL_HEIGHT))
        top += height
    sheet.save(path, quality=quality, optimize=True)
