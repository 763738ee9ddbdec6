"""The objectives implemented in PyTorch, with the same weights and the same values.

Written in idiomatic PyTorch: `conv2d`, `relu`, `avg_pool2d`, and autograd with respect to the image
alone. Targets, scales and weighting factors come from rwgen, so that the losses of both can be
compared directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from numpy.typing import NDArray
from torch.nn import functional

from rwgen import InversionConfig, StyleConfig, TextureConfig, feature_extractor
from rwgen.compute.readers import plain_reader
from rwgen.network.convolution import SymmetricConv2D
from rwgen.network.features import gram_matrix
from rwgen.synthesis.config import CONTENT_UNIT, TV_UNIT
from rwgen.synthesis.layer_terms import target_features
from rwgen.synthesis.weighting import content_factors, style_factors
from rwgen.synthesis.whitening import gram_whitening

Loss = Callable[[Mapping[str, torch.Tensor], torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class TorchObjective:
    """A loss of an image in PyTorch, with its gradient.

    Attributes:
        layers: (name, kernel, bias) of each convolution, (name, None, None) of each pool.
        losses: terms of the sum.
        padding: of convolutions: `constant` (zeros) or `replicate` (symmetric, of one pixel).
        memory_format: memory format of images and features.
    """

    layers: tuple[tuple[str, torch.Tensor | None, torch.Tensor | None], ...]
    losses: tuple[Loss, ...]
    memory_format: torch.memory_format
    padding: str

    def loss(self, image: torch.Tensor) -> torch.Tensor:
        """Return the loss of an image [1, 3, height, width]."""
        features, tensor = {}, image
        for name, kernel, bias in self.layers:
            if kernel is None:
                tensor = functional.avg_pool2d(tensor, 2)
            else:
                tensor = functional.pad(tensor, (1, 1, 1, 1), mode=self.padding)
                tensor = functional.relu(functional.conv2d(tensor, kernel, bias))
            features[name] = tensor
        return torch.stack([loss(features, image) for loss in self.losses]).sum()

    def evaluate(self, image: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Return the loss of an image [1, height, width, 3], and its gradient."""
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))
        tensor = tensor.contiguous(memory_format=self.memory_format).requires_grad_()
        loss = self.loss(tensor)
        (gradient,) = torch.autograd.grad(loss, tensor)
        return float(loss.detach()), gradient.permute(0, 2, 3, 1).contiguous().numpy()


def torch_style(
    network: keras.Model,
    content: NDArray[Any],
    style: NDArray[Any],
    config: StyleConfig,
    memory_format: torch.memory_format,
) -> TorchObjective:
    """Return eq. 9, as `rwgen.synthesis.objectives.style_objective` with one style."""
    losses = (
        _content(network, content, config.content_layers, config.content_weight * CONTENT_UNIT),
        _style(network, style, config.style_layers, config.style_weight),
        _variation(config.tv_weight * TV_UNIT),
    )
    names = (*config.content_layers, *config.style_layers)
    return TorchObjective(
        _layers(network, names, memory_format), losses, memory_format, _padding(network)
    )


def torch_texture(
    network: keras.Model,
    source: NDArray[Any],
    config: TextureConfig,
    memory_format: torch.memory_format,
) -> TorchObjective:
    """Return eq. 5, as `rwgen.synthesis.objectives.texture_objective`."""
    losses = (_style(network, source, config.layers, 1.0),)
    return TorchObjective(
        _layers(network, config.layers, memory_format), losses, memory_format, _padding(network)
    )


def torch_inversion(
    network: keras.Model, image: NDArray[Any], layer: str, memory_format: torch.memory_format
) -> TorchObjective:
    """Return eq. 1, as `rwgen.synthesis.objectives.inversion_objective`."""
    losses = (_content(network, image, (layer,), 1.0),)
    return TorchObjective(
        _layers(network, (layer,), memory_format), losses, memory_format, _padding(network)
    )


def _layers(
    network: keras.Model, names: tuple[str, ...], memory_format: torch.memory_format
) -> tuple[tuple[str, torch.Tensor | None, torch.Tensor | None], ...]:
    own = [layer.name for layer in network.layers]
    last = max(own.index(name) for name in names)
    layers: list[tuple[str, torch.Tensor | None, torch.Tensor | None]] = []
    for layer in network.layers[1 : last + 1]:
        if layer.weights:
            kernel, bias = (np.array(value) for value in layer.get_weights())
            weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
            weight = weight.contiguous(memory_format=memory_format)
            layers.append((layer.name, weight, torch.from_numpy(bias)))
        else:
            layers.append((layer.name, None, None))
    return tuple(layers)


def _padding(network: keras.Model) -> str:
    symmetric = any(isinstance(layer, SymmetricConv2D) for layer in network.layers)
    return "replicate" if symmetric else "constant"


def _content(
    network: keras.Model, image: NDArray[Any], names: tuple[str, ...], weight: float
) -> Loss:
    read = plain_reader(feature_extractor(network, names))
    targets, scales = target_features(read, image, names)
    factors = content_factors(read, image, names, InversionConfig().weighting, scales)
    wanted = {name: _channels_first(value / scales[name]) for name, value in targets.items()}

    def loss(features: Mapping[str, torch.Tensor], _image: torch.Tensor) -> torch.Tensor:
        parts = [
            factors[name] * (features[name] / scales[name] - wanted[name]).square().mean() / 2
            for name in names
        ]
        return weight * torch.stack(parts).sum()

    return loss


def _style(
    network: keras.Model, image: NDArray[Any], names: tuple[str, ...], weight: float
) -> Loss:
    read = plain_reader(feature_extractor(network, names))
    values, scales = target_features(read, image, names)
    values = {name: value / scales[name] for name, value in values.items()}
    shifts = {name: tf.reduce_mean(value, [1, 2], keepdims=True) for name, value in values.items()}
    weighting = TextureConfig().weighting
    whitenings = {
        name: gram_whitening(gram_matrix(value - shifts[name])) for name, value in values.items()
    }
    factors = style_factors(read, image, names, weighting, scales, shifts, whitenings)
    means = {name: _channels_first(shift) for name, shift in shifts.items()}
    metrics = {name: torch.from_numpy(matrix.numpy()) for name, matrix in whitenings.items()}
    grams = {
        name: metrics[name].T @ _gram(_channels_first(value) - means[name]) @ metrics[name]
        for name, value in values.items()
    }

    def loss(features: Mapping[str, torch.Tensor], _image: torch.Tensor) -> torch.Tensor:
        parts = []
        for name in names:
            gram = _gram(features[name] / scales[name] - means[name])
            gram = metrics[name].T @ gram @ metrics[name]
            parts.append(factors[name] * (gram - grams[name]).square().mean() / 4)
        return weight * torch.stack(parts).sum()

    return loss


def _gram(features: torch.Tensor) -> torch.Tensor:
    _, channels, height, width = features.shape
    matrix = features.permute(0, 2, 3, 1).reshape(height * width, channels)
    return matrix.T @ matrix / (height * width)


def _variation(weight: float) -> Loss:
    def loss(_features: Mapping[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        vertical = (image[:, :, 1:] - image[:, :, :-1]).square().sum()
        horizontal = (image[:, :, :, 1:] - image[:, :, :, :-1]).square().sum()
        return weight * (vertical + horizontal)

    return loss


def _channels_first(value: tf.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.array(value).transpose(0, 3, 1, 2)))
