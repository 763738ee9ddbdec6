"""What the layers of an untrained architecture keep of a photo, found by inverting them.

Follows the paper's outlook: what a network keeps before training depends on its architecture.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen import metrics
from rwgen.errors import InvalidInputError, RwgenError
from rwgen.network.features import feature_extractor
from rwgen.network.preprocess import network_input
from rwgen.noise import white_noise
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.solution import StopReason
from rwgen.probe.config import ProbeConfig
from rwgen.probe.random_weights import reinitialize
from rwgen.probe.summary import LayerProbe
from rwgen.synthesis.config import InversionConfig

_SAME = 1e-6
"""Features are the same if they differ by less than this share of the largest one: the rounding of
float32."""


def probed_layers(model: keras.Model, layers: Sequence[str] = ()) -> tuple[keras.layers.Layer, ...]:
    """Layers that a probe inverts.

    Args:
        model: functional or sequential.
        layers: layer names; empty chooses the last layer of each height and width, except layers
            that only pad, and the last layer of the model.

    Returns:
        Layers of the model, in its order.

    Raises:
        InvalidInputError: a name is unknown.
    """
    own = {layer.name: layer for layer in model.layers[1:]}
    unknown = [name for name in layers if name not in own]
    if unknown:
        raise InvalidInputError(
            f"expected layers of {model.name}. Received: {', '.join(unknown)}; it has "
            f"{', '.join(own)}"
        )
    if layers:
        return tuple(layer for name, layer in own.items() if name in layers)
    last: dict[Any, keras.layers.Layer] = {}
    for layer in own.values():
        if isinstance(layer, keras.layers.ZeroPadding2D):
            continue
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4:
            last[tuple(shape[1:3])] = layer
        else:
            last["flat"] = layer
    chosen = {id(layer) for layer in last.values()}
    return tuple(layer for layer in own.values() if id(layer) in chosen)


def probe_layer(
    model: keras.Model, layer: str, image: NDArray[Any], seed: int, config: ProbeConfig
) -> LayerProbe:
    """Draw a model's weights and invert a photo from one of its layers.

    For several layers, `probe_layers` draws the weights once.

    Args:
        model: see `rwgen.probe.reinitialize`; its weights are replaced.
        layer: name of a layer.
        image: [height, width, 3], RGB in 0..255, of a size that the model accepts.
        seed: seed of the weights and of the noise that the search starts from.
        config: iterations and biases; its `layers` and `num_seeds` are not used.

    Returns:
        PSNR, SSIM and loss, or the reason why there are none.
    """
    return next(probe_layers(model, [layer], image, seed, config))


def probe_layers(
    model: keras.Model, layers: Sequence[str], image: NDArray[Any], seed: int, config: ProbeConfig
) -> Iterator[LayerProbe]:
    """Draw a model's weights once and invert a photo from several of its layers.

    The search moves frequencies in a box and minimizes equation 1 without whitening, for all layers
    alike.

    Args:
        model: see `probe_layer`.
        layers: names of layers.
        image: see `probe_layer`.
        seed: see `probe_layer`.
        config: see `probe_layer`.

    Yields:
        One result for each layer, in the order of `layers`.
    """
    reinitialize(model, seed, config.bias_stddev)
    for layer in layers:
        yield _invert_layer(model, layer, image, seed, config.max_iterations)


def _invert_layer(
    model: keras.Model, layer: str, image: NDArray[Any], seed: int, max_iterations: int
) -> LayerProbe:
    # Imports TensorFlow Probability, which only an inversion needs.
    from rwgen.synthesis.tasks import invert

    found = model.get_layer(layer)
    shape = tuple(getattr(found.output, "shape", (None,)))[1:]
    result = functools.partial(LayerProbe, layer, type(found).__name__, shape, seed)
    reason = _obstacle(model, layer, image, seed)
    if reason:
        return result(reason=reason)
    inversion = InversionConfig(
        seed=seed,
        octaves=0,
        parameterization="fourier-box",
        whiten_features=False,
        optimizer=OptimizerConfig(max_iterations=max_iterations),
    )
    try:
        solution = invert(image, layer, network=model, config=inversion)
    except RwgenError as error:
        return result(reason=str(error))
    if solution.iterations == 0 and solution.stop_reason is not StopReason.MAX_ITERATIONS:
        return result(reason="no change of the noise lowers its loss")
    pixels = np.rint(solution.image).clip(0, 255)
    share = solution.loss / solution.initial_loss
    return result(metrics.psnr(image, pixels), metrics.ssim(image, pixels), share)


def _obstacle(model: keras.Model, layer: str, image: NDArray[Any], seed: int) -> str:
    """Why a layer cannot be inverted, judged by its features; empty if no reason is found."""
    output = model.get_layer(layer).output
    if not isinstance(output, keras.KerasTensor):
        return "it has several outputs"
    if len(output.shape) not in (2, 4):
        return f"its output has {len(output.shape)} axes, not 2 or 4"
    if "float" not in output.dtype:
        return f"its output is of {output.dtype}, which has no gradient"
    extractor = feature_extractor(model, [layer])
    photo, noise = (
        np.asarray(next(iter(extractor(network_input(x)).values())))
        for x in (image, white_noise(seed, image.shape))
    )
    if not np.isfinite(photo).all():
        return "its features are not finite"
    if np.abs(photo - noise).max() <= _SAME * np.abs(photo).max():
        return "its features are the same for the photo and for noise"
    return ""
