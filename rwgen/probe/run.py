"""A whole probe: several architectures, their layers, and several draws of the weights."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.files import FileName
from rwgen.network.preprocess import network_input
from rwgen.optimize.checkpoint import fingerprint
from rwgen.probe.architectures import load_architecture
from rwgen.probe.config import ProbeConfig
from rwgen.probe.layers import probe_layers, probed_layers
from rwgen.probe.record import Inversion, ProbeRecord, open_record
from rwgen.probe.summary import LayerProbe, rank_models, summarize

ProbeCallback = Callable[[str, LayerProbe, int, int], None]
"""Called after every inversion with the model, the result, its number from 1, and how many there
are in this run."""


def probe_architectures(
    models: Sequence[str],
    image: NDArray[Any],
    output: FileName,
    *,
    config: ProbeConfig | None = None,
    image_sha256: str = "",
    callback: ProbeCallback | None = None,
) -> ProbeRecord:
    """Draw the weights of architectures, invert a photo from their layers, and rank them.

    The record is written after every inversion. The same call resumes from it, and a call with more
    models, layers or seeds computes only what is missing.

    Args:
        models: architectures, see `rwgen.probe.architectures.load_architecture`. Keras's counters
            of layer names are reset before each is built (`keras.utils.clear_session`), so that
            names such as `layer_normalization_1` are the same in every run.
        image: [side, side, 3], RGB in 0..255.
        output: JSON file of the record.
        config: layers, seeds, iterations and biases; None means the defaults.
        image_sha256: identifies the photo in the record; empty takes a fingerprint of `image`.
        callback: see `ProbeCallback`.

    Returns:
        The complete record. With one model the ranking is empty.

    Raises:
        InvalidInputError: the image is not square, an architecture or a layer is unknown, or
            `output` is not a record or has other settings.
        OutputError: the record could not be written.
    """
    config = config or ProbeConfig()
    size = network_input(image).shape[1]
    if image.shape != (size, size, 3):
        raise InvalidInputError(f"image: expected [side, side, 3]. Received: {image.shape}")
    settings = {
        "image_sha256": image_sha256 or fingerprint(image),
        "size": size,
        "max_iterations": config.max_iterations,
        "bias_stddev": config.bias_stddev,
    }
    record = open_record(output, settings)
    wanted: dict[str, list[Inversion]] = {}
    for name in dict.fromkeys(models):  # all are built, and their layers found, before any work
        layers = probed_layers(_load(name, size), config.layers)
        digest = _file_sha256(name)
        wanted[name] = [
            Inversion(name, digest, layer.name, seed)
            for layer in layers
            for seed in range(config.num_seeds)
        ]
    missing = [key for keys in wanted.values() for key in keys if key not in record.probes]
    number = 0
    for name, keys in itertools.groupby(missing, lambda key: key.model):
        model = _load(name, size)
        # Stable: layers keep their order within a seed, whose weights are drawn once.
        by_seed = sorted(keys, key=lambda key: key.seed)
        for seed, draws in itertools.groupby(by_seed, lambda key: key.seed):
            group = list(draws)
            probes = probe_layers(model, [key.layer for key in group], image, seed, config)
            for key, probe in zip(group, probes, strict=True):
                record.probes[key] = probe
                record.write(output)
                number += 1
                if callback:
                    callback(name, probe, number, len(missing))
    for name, inversions in wanted.items():
        record.summaries += summarize(name, size, [record.probes[key] for key in inversions])
    record.ranking = rank_models(record.summaries) if len(wanted) > 1 else []
    record.write(output)
    return record


def _load(name: str, size: int) -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    return load_architecture(name, size)


def _file_sha256(name: str) -> str:
    """SHA-256 of a model's file; empty for a name, which identifies the model by itself."""
    path = Path(name)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".keras" else ""
