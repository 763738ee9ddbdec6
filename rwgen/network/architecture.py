"""The VGG topology as data: layer names, their aliases, output shapes and parameter counts.

Nothing here needs TensorFlow, so that the command line can check layer names and image sizes
before it pays for the import.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rwgen.errors import InvalidInputError, LayerError

LayerKind = Literal["conv", "pool", "dense"]

INPUT_CHANNELS = 3
"""RGB."""

KERNEL_SIZE = 3
"""Height and width of every convolution kernel (paper, section 2)."""

DENSE_INPUT_SIZE = 256
"""Height and width of the image where the dense layers are used (paper, section 4)."""


@dataclass(frozen=True)
class LayerSpec:
    """One layer of the topology.

    Attributes:
        name: the paper's name, such as `conv4_2`, `pool4` or `fc6`.
        kind: `conv` (3x3, stride 1, zero padding, ReLU), `pool` (2x2, stride 2) or `dense`.
        units: output channels of a convolution, output features of a dense layer; for a pool,
            the channels that pass through it.
        num_pools: pooling layers from the input up to and including this layer.
        keras_name: the same layer's name in `keras.applications.VGG19`.
    """

    name: str
    kind: LayerKind
    units: int
    num_pools: int
    keras_name: str


@dataclass(frozen=True)
class Architecture:
    """A VGG-like network: blocks of convolutions that each end in a pool, then dense layers.

    Attributes:
        name: how recipes call it.
        blocks: (channels, number of convolutions) of each block.
        dense_units: features of each dense layer.
    """

    name: str
    blocks: tuple[tuple[int, int], ...]
    dense_units: tuple[int, ...] = ()

    def layers(self) -> tuple[LayerSpec, ...]:
        """Every layer in forward order, dense layers included."""
        return tuple(self._iterate())

    def _iterate(self) -> Iterator[LayerSpec]:
        channels = INPUT_CHANNELS
        for block, (channels, convolutions) in enumerate(self.blocks, start=1):
            for index in range(1, convolutions + 1):
                yield LayerSpec(
                    f"conv{block}_{index}",
                    "conv",
                    channels,
                    block - 1,
                    f"block{block}_conv{index}",
                )
            yield LayerSpec(f"pool{block}", "pool", channels, block, f"block{block}_pool")
        last = len(self.dense_units)
        for index, units in enumerate(self.dense_units, start=1):
            keras_name = "predictions" if index == last else f"fc{index}"
            yield LayerSpec(
                f"fc{len(self.blocks) + index}", "dense", units, len(self.blocks), keras_name
            )

    def layer(self, name: str) -> LayerSpec:
        """The layer called `name`, by the paper's name or by Keras' one.

        Raises:
            LayerError: there is no such layer.
        """
        for spec in self._iterate():
            if name in (spec.name, spec.keras_name):
                return spec
        known = ", ".join(spec.name for spec in self._iterate())
        raise LayerError(f"expected a layer of {self.name} ({known}). Received: {name!r}")

    def deepest(self, names: Sequence[str]) -> LayerSpec:
        """Of the layers called `names`, the one that comes last in forward order.

        Raises:
            LayerError: `names` is empty or holds an unknown name.
        """
        if not names:
            raise LayerError("expected at least one layer name. Received: none")
        wanted = {self.layer(name).name for name in names}
        return [spec for spec in self._iterate() if spec.name in wanted][-1]

    def up_to(self, name: str) -> tuple[LayerSpec, ...]:
        """The layers from the input up to and including `name`."""
        last = self.layer(name).name
        specs = self.layers()
        return specs[: [spec.name for spec in specs].index(last) + 1]

    def minimum_side(self, names: Sequence[str]) -> int:
        """The smallest image height and width, in pixels, for which every layer in `names` exists.

        Each pool halves the image and drops an odd last row or column.
        """
        deepest = self.deepest(names)
        return DENSE_INPUT_SIZE if deepest.kind == "dense" else 2**deepest.num_pools

    def check_image_size(self, names: Sequence[str], shape: Sequence[int], what: str) -> None:
        """Refuse an image on which the layers in `names` cannot be computed.

        Args:
            names: layer names.
            shape: image height and width in pixels; what follows does not count.
            what: what the image is, for the message.

        Raises:
            InvalidInputError: a side is too short, or the size is not the one that the dense
                layers need.
            LayerError: a name is unknown.
        """
        deepest, minimum = self.deepest(names), self.minimum_side(names)
        height, width = shape[:2]
        if deepest.kind == "dense" and (height, width) != (minimum, minimum):
            raise InvalidInputError(
                f"expected {what} of {minimum}x{minimum} pixels for the dense layer "
                f"{deepest.name}. Received: {width}x{height}"
            )
        if min(height, width) < minimum:
            raise InvalidInputError(
                f"expected {what} of at least {minimum} pixels a side for the layer "
                f"{deepest.name}. Received: {width}x{height}"
            )

    def output_shape(self, name: str, height: int, width: int) -> tuple[int, ...]:
        """Shape of a layer's output without the batch dimension, for an image of this size."""
        spec = self.layer(name)
        if spec.kind == "dense":
            return (spec.units,)
        return (height >> spec.num_pools, width >> spec.num_pools, spec.units)

    def kernel_shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a layer's kernel in Keras' order, or None for a pool.

        Dense layers are taken at the image size `DENSE_INPUT_SIZE`.
        """
        specs = self.up_to(name)
        spec, before = specs[-1], specs[-2] if len(specs) > 1 else None
        if spec.kind == "pool":
            return None
        inputs = before.units if before else INPUT_CHANNELS
        if spec.kind == "conv":
            return (KERNEL_SIZE, KERNEL_SIZE, inputs, spec.units)
        if before and before.kind != "dense":
            inputs *= (DENSE_INPUT_SIZE >> spec.num_pools) ** 2
        return (inputs, spec.units)

    def num_parameters(self, name: str) -> int:
        """Number of weights of a layer, kernel and bias together."""
        shape = self.kernel_shape(name)
        if shape is None:
            return 0
        return math.prod(shape) + shape[-1]


VGG19 = Architecture(
    name="vgg19",
    blocks=((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)),
    dense_units=(4096, 4096, 1000),
)
"""Simonyan and Zisserman's 19-layer network, configuration E (paper, figure 1)."""

ARCHITECTURES: dict[str, Architecture] = {VGG19.name: VGG19}
"""Architectures that a recipe may name."""
