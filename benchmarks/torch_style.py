"""Style transfer by a VGG-19 of random weights in PyTorch, as a program of its own.

Written as neural-style-pt is: `torch.optim.LBFGS` without line search at the final size, from the
content image, one step an iteration, and eagerly: PyTorch 2.13 cannot compile the gradient of
replication padding on a CPU (it expects other strides than it makes). The objective is that of
`rwgen style` (whitened Gram matrices, automatic weights, the content in the colors of the style),
so that the pictures can be equally good; networks are of the recipe `ranvgg19-half-width` at any
width, drawn by PyTorch. It imports nothing of rwgen. Every `--every` iterations it writes the
picture and the seconds since its process began, which tells when it was as good as another.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 1))
STYLE = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
CONTENT = ("conv1_2", "conv2_2")
CONTENT_WEIGHT, TV_WEIGHT = 50 / 300, 1000 / 20_000
MEAN = 0.45


class Network(torch.nn.Module):
    """conv1_1 to conv4_1; returns the features that the losses compare."""

    def __init__(self, width: float) -> None:
        super().__init__()
        channels = 3
        self.layers = torch.nn.ModuleDict()
        for block, (filters, convolutions) in enumerate(BLOCKS, start=1):
            for number in range(1, convolutions + 1):
                outputs = round(filters * width)
                layer = torch.nn.Conv2d(
                    channels, outputs, 3, padding=1, padding_mode="replicate"
                ).requires_grad_(False)
                layer.weight.normal_(0, (9 * channels) ** -0.5)
                layer.bias.normal_(0, 0.3)
                self.layers[f"conv{block}_{number}"] = layer
                channels = outputs

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Features [1, channels, height, width] by layer."""
        features = {}
        for name, layer in self.layers.items():
            if name != "conv1_1" and name.endswith("_1"):
                image = functional.avg_pool2d(image, 2)
            image = functional.relu(layer(image))
            if name in STYLE or name in CONTENT:
                features[name] = image
        return features


class Loss(torch.nn.Module):
    """The weighted sum of content, style and total variation."""

    def __init__(self, network: Network, content: torch.Tensor, style: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.targets, self.scales, self.factors = {}, {}, {}
        self.means, self.metrics, self.grams = {}, {}, {}
        photo, painting = network(content), network(style)
        for name in CONTENT:
            self.scales[name] = photo[name].square().mean().sqrt()
            self.targets[name] = photo[name] / self.scales[name]
        for name in STYLE:
            features = painting[name] / painting[name].square().mean().sqrt()
            self.scales[name] = painting[name].square().mean().sqrt()
            self.means[name] = features.mean((2, 3), keepdim=True)
            gram = _gram(features - self.means[name])
            values, vectors = torch.linalg.eigh(gram.double())
            variance = values.sum() / len(values)
            powers = ((values / variance).clamp(min=0) + 1).rsqrt() / variance.sqrt()
            self.metrics[name] = ((vectors * powers) @ vectors.T).float()
            self.grams[name] = self.metrics[name] @ gram @ self.metrics[name]
        for names, image, part in ((CONTENT, content, self._content), (STYLE, style, self._style)):
            for name in names:
                point = image.clone().requires_grad_()
                loss = part(name, network(point)[name], 0.0)
                (gradient,) = torch.autograd.grad(loss, point)
                self.factors[name] = 1 / gradient.abs().mean()

    def _content(
        self, name: str, features: torch.Tensor, target: torch.Tensor | float
    ) -> torch.Tensor:
        return (features / self.scales[name] - target).square().mean() / 2

    def _style(
        self, name: str, features: torch.Tensor, target: torch.Tensor | float
    ) -> torch.Tensor:
        gram = _gram(features / self.scales[name] - self.means[name])
        metric = self.metrics[name]
        return (metric @ gram @ metric - target).square().mean() / 4

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The loss [] of an image [1, 3, height, width]."""
        features = self.network(image)
        loss = TV_WEIGHT * (
            (image[:, :, 1:] - image[:, :, :-1]).square().sum()
            + (image[:, :, :, 1:] - image[:, :, :, :-1]).square().sum()
        )
        for name in CONTENT:
            part = self._content(name, features[name], self.targets[name])
            loss = loss + CONTENT_WEIGHT * self.factors[name] * part
        for name in STYLE:
            part = self._style(name, features[name], self.grams[name])
            loss = loss + self.factors[name] * part
        return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--every", type=int, default=30)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)

    photo, painting = (_pixels(path, options.size) for path in (options.content, options.style))
    content, style = _tensor(_in_colors_of(photo, painting)), _tensor(painting)
    network = Network(options.width)
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)
    objective = Loss(network, content, style)
    image = content.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=1, history_size=100)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = objective(image)
        value.backward()
        image.grad = image.grad.contiguous()  # L-BFGS needs it
        return value

    made = []
    for iteration in range(1, options.iterations + 1):
        value = optimizer.step(closure)
        if iteration % options.every == 0:
            path = options.output / f"{iteration:04d}.png"
            pixels = ((image.detach()[0].permute(1, 2, 0) + MEAN) * 255).clamp(0, 255)
            Image.fromarray(pixels.round().byte().numpy()).save(path)
            seconds = time.time() - _process_start()
            made.append({"file": path.name, "iteration": iteration, "seconds": seconds})
            print(iteration, round(seconds, 1), value.item(), flush=True)
    (options.output / "made.json").write_text(json.dumps(made))


def _gram(features: torch.Tensor) -> torch.Tensor:
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    return rows.T @ rows / len(rows)


def _pixels(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as image:
        factor = size / max(image.size)
        shape = tuple(round(side * factor) for side in image.size)
        return np.asarray(image.convert("RGB").resize(shape, Image.Resampling.LANCZOS), np.float64)


def _in_colors_of(photo: np.ndarray, painting: np.ndarray) -> np.ndarray:
    """The linear map of Monge and Kantorovich between Gaussians."""
    own, other = (np.cov(x.reshape(-1, 3).T) + np.eye(3) for x in (photo, painting))
    root = _power(own, 0.5)
    linear = _power(own, -0.5) @ _power(root @ other @ root, 0.5) @ _power(own, -0.5)
    return (photo - photo.mean((0, 1))) @ linear + painting.mean((0, 1))


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return (
        torch.tensor(pixels / 255 - MEAN, dtype=torch.float32).permute(2, 0, 1)[None].contiguous()
    )


def _process_start() -> float:
    """When this process began, in seconds since 1970 (Linux)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime")
    )
    return boot + ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
