"""The VGG topology as data: layer names, aliases, output shapes and parameter counts.

Nothing here imports TensorFlow, so that the command line can check layer names and image sizes
before the slow import.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rwgen.errors import InvalidInputError, LayerError

LayerKind = Literal["conv", "pool", "dense"]

INPUT_CHANNELS = 3
"""Red, green and blue."""

KERNEL_SIZE = 3
"""Height and width of the convolution kernels of VGG-19 (paper, section 2)."""

DENSE_INPUT_SIZE = 256
"""Image height and width in pixels that the dense layers require (paper, section 4)."""

MAX_WIDTH = 4.0
"""Maximum factor of the numbers of channels in recipes."""

MAX_BLOCKS = 8
"""Maximum number of blocks in recipes, which leave one position of `DENSE_INPUT_SIZE`."""

MAX_CONVOLUTIONS = 16
"""Maximum number of convolutions of a block in recipes."""

MAX_CHANNELS = 2048
"""Maximum number of channels of a block in recipes: that of VGG-19 at `MAX_WIDTH`."""

MAX_KERNEL_SIZE = 15
"""Maximum height and width of convolution kernels in recipes."""

MAX_PARAMETERS = 1 << 32
"""Maximum number of parameters of a network that is built: 16 GiB of float32."""


@dataclass(frozen=True)
class LayerSpec:
    """One layer of the topology.

    Attributes:
        name: Name in the paper, such as `conv4_2`, `pool4` or `fc6`.
        kind: `conv` (stride 1, same size, ReLU), `pool` (stride 2) or `dense`.
        units: Number of output channels of a convolution or pooling layer, or of output features
            of a dense layer.
        num_pools: Number of pooling layers up to and including this layer.
        keras_name: Name of the same layer in `keras.applications.VGG19`.
    """

    name: str
    kind: LayerKind
    units: int
    num_pools: int
    keras_name: str


@dataclass(frozen=True)
class Architecture:
    """VGG-like network: blocks of convolutions that end in a pooling layer, then dense layers.

    Attributes:
        name: Name in recipes.
        blocks: (channels, number of convolutions) of each block.
        dense_units: Number of output features of each dense layer.
        kernel_size: Height and width of all convolution kernels.
        pyramid: Whether pooling layers halve the image instead of the features of their block.
            The first convolution of each block then reads the image, at half the size of the
            block before.
    """

    name: str
    blocks: tuple[tuple[int, int], ...]
    dense_units: tuple[int, ...] = ()
    kernel_size: int = KERNEL_SIZE
    pyramid: bool = False

    def scaled(self, width: float) -> Architecture:
        """Return the architecture with another number of channels in every block.

        Hidden dense layers are scaled too, the last one is not. This is the parameter `alpha` of
        `keras.applications.MobileNet`.

        Args:
            width: Factor of the numbers of channels, which are rounded and at least 1.
        """
        return dataclasses.replace(
            self,
            name=f"{self.name} of width {width:g}",
            blocks=tuple((_scaled(channels, width), count) for channels, count in self.blocks),
            dense_units=(
                *(_scaled(units, width) for units in self.dense_units[:-1]),
                *self.dense_units[-1:],
            ),
        )

    def with_blocks(self, blocks: tuple[tuple[int, int], ...]) -> Architecture:
        """Return the architecture with other blocks and the same dense layers."""
        return dataclasses.replace(self, name=f"{self.name} with other blocks", blocks=blocks)

    def with_kernel_size(self, kernel_size: int) -> Architecture:
        """Return the architecture with other convolution kernels."""
        name = f"{self.name} with {kernel_size}x{kernel_size} kernels"
        return dataclasses.replace(self, name=name, kernel_size=kernel_size)

    def as_pyramid(self) -> Architecture:
        """Return the architecture with an image at half the size for each further block.

        It has no dense layers.
        """
        size = self.kernel_size
        name = f"a pyramid of {len(self.blocks)} blocks with {size}x{size} kernels"
        return dataclasses.replace(self, name=name, dense_units=(), pyramid=True)

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return all layers in forward order, including dense layers."""
        specs: list[LayerSpec] = []
        for block, (channels, convolutions) in enumerate(self.blocks, start=1):
            for index in range(1, convolutions + 1):
                name, keras_name = f"conv{block}_{index}", f"block{block}_conv{index}"
                specs.append(LayerSpec(name, "conv", channels, block - 1, keras_name))
            units = INPUT_CHANNELS if self.pyramid else channels
            specs.append(LayerSpec(f"pool{block}", "pool", units, block, f"block{block}_pool"))
        pools, last = len(self.blocks), len(self.dense_units)
        for index, units in enumerate(self.dense_units, start=1):
            keras_name = "predictions" if index == last else f"fc{index}"
            specs.append(LayerSpec(f"fc{pools + index}", "dense", units, pools, keras_name))
        return tuple(specs)

    def layer(self, name: str) -> LayerSpec:
        """Return the layer with a name in the paper or in Keras.

        In a network of one block, whose dense layers are fc2, fc3 and fc4, `fc2` is also Keras'
        name of fc3. The paper's name takes precedence.

        Raises:
            LayerError: There is no such layer.
        """
        for spec in self.layers():
            if name in (spec.name, spec.keras_name):
                return spec
        known = ", ".join(spec.name for spec in self.layers())
        raise LayerError(f"expected a layer of {self.name} ({known}). Received: {name!r}")

    def deepest(self, names: Sequence[str]) -> LayerSpec:
        """Return the layer among `names` that is last in forward order.

        Raises:
            LayerError: `names` is empty or contains an unknown name.
        """
        if not names:
            raise LayerError("expected at least one layer name. Received: none")
        return max(map(self.layer, names), key=self.layers().index)

    def up_to(self, name: str) -> tuple[LayerSpec, ...]:
        """Return the layers from the input up to and including `name`."""
        specs = self.layers()
        return specs[: specs.index(self.layer(name)) + 1]

    def needed(self, names: Sequence[str]) -> tuple[LayerSpec, ...]:
        """Return the layers that the outputs of `names` depend on, these included.

        They are in forward order. In a pyramid, no block depends on the convolutions of another.

        Raises:
            LayerError: `names` is empty or contains an unknown name.
        """
        specs = self.up_to(self.deepest(names).name)
        if not self.pyramid:
            return specs
        wanted = {self.layer(name) for name in names}
        kept: list[LayerSpec] = []
        for spec in reversed(specs):
            block = [other for other in kept if other.num_pools == spec.num_pools]
            if spec.kind == "pool" or spec in wanted or any(x.kind == "conv" for x in block):
                kept.insert(0, spec)
        return tuple(kept)

    def minimum_side(self, names: Sequence[str]) -> int:
        """Return the smallest image height and width, in pixels, for all layers in `names`.

        Each pooling layer halves the image and drops an odd last row or column.
        """
        deepest = self.deepest(names)
        return DENSE_INPUT_SIZE if deepest.kind == "dense" else 2**deepest.num_pools

    def check_image_size(self, names: Sequence[str], shape: Sequence[int], what: str) -> None:
        """Check that an image is large enough for the layers in `names`.

        Args:
            names: Layer names.
            shape: Image height and width in pixels. Further values are ignored.
            what: Description of the image for the message.

        Raises:
            InvalidInputError: A side is too short, or the size differs from the one that the
                dense layers require.
            LayerError: A name is unknown.
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

    def check_gram_size(self, names: Sequence[str], shape: Sequence[int], what: str) -> None:
        """Check that the features of an image have a covariance in all layers in `names`.

        Args:
            names: Names of conv or pool layers.
            shape: Image height and width in pixels. Further values are ignored.
            what: Description of the image for the message.

        Raises:
            InvalidInputError: A layer has less than two positions.
            LayerError: A name is unknown.
        """
        self.check_image_size(names, shape, what)
        deepest = self.deepest(names)
        height, width = shape[:2]
        if math.prod(self.output_shape(deepest.name, height, width)[:2]) == 1:
            side = 2**deepest.num_pools
            raise InvalidInputError(
                f"expected {what} of at least {2 * side}x{side} pixels for the layer "
                f"{deepest.name}, which has one position for every {side}x{side}. "
                f"Received: {width}x{height}"
            )

    def output_shape(self, name: str, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of a layer's output, without batch dimension, for an image size."""
        spec = self.layer(name)
        if spec.kind == "dense":
            return (spec.units,)
        return (height >> spec.num_pools, width >> spec.num_pools, spec.units)

    def kernel_shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a layer's kernel in Keras' order, or None for a pooling layer.

        Dense layers are those of the image size `DENSE_INPUT_SIZE`.
        """
        specs = self.up_to(name)
        spec, before = specs[-1], specs[-2] if len(specs) > 1 else None
        if spec.kind == "pool":
            return None
        inputs = before.units if before else INPUT_CHANNELS
        if spec.kind == "conv":
            return (self.kernel_size, self.kernel_size, inputs, spec.units)
        if before and before.kind != "dense":
            inputs *= (DENSE_INPUT_SIZE >> spec.num_pools) ** 2
        return (inputs, spec.units)

    def fan_in(self, name: str) -> int:
        """Return the number of inputs of one output of a layer's kernel, 0 for a pooling layer."""
        return math.prod((self.kernel_shape(name) or (0, 0))[:-1])

    def num_parameters(self, name: str) -> int:
        """Return the number of parameters of a layer, kernel and bias together."""
        shape = self.kernel_shape(name)
        if shape is None:
            return 0
        return math.prod(shape) + shape[-1]


def check_tile_size(shape: Sequence[int], multiple: int, what: str) -> None:
    """Check that no pool cuts off a row or column of an image that tiles.

    Args:
        shape: Image height and width in pixels. Further values are ignored.
        multiple: Number that both must be multiples of, 2^n after n pools.
        what: Description of the image for the message.

    Raises:
        InvalidInputError: A side is not a multiple.
    """
    height, width = shape[:2]
    if height % multiple or width % multiple:
        near = [max(1, round(side / multiple)) * multiple for side in (width, height)]
        raise InvalidInputError(
            f"expected {what} whose sides are multiples of {multiple} pixels, such as "
            f"{near[0]}x{near[1]}. Received: {width}x{height}"
        )


def _scaled(channels: int, width: float) -> int:
    return max(1, round(width * channels))


VGG19 = Architecture(
    name="vgg19",
    blocks=((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)),
    dense_units=(4096, 4096, 1000),
)
"""The 19-layer network of Simonyan and Zisserman, configuration E (paper, figure 1)."""

ARCHITECTURES: dict[str, Architecture] = {VGG19.name: VGG19}
"""Architectures that recipes may use, by name."""
