"""How far the weighting factors of eq. 4 and 8 spread over seeds: magnitudes against signed means.

For each seed a network is drawn, and omega of the content layer and mu of each style layer are
computed in both ways. What matters for style transfer is their balance: the ratio of each mu to
omega, for which the table gives the standard deviation of its natural logarithm.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from record import write_record

from rwgen import StyleConfig, feature_extractor, load_recipe, read_image, resize_image
from rwgen.compute.readers import plain_reader
from rwgen.images import fit_longest_side
from rwgen.network.preprocess import network_input
from rwgen.network.vgg import build_network
from rwgen.synthesis.objectives import target_features
from rwgen.synthesis.weighting import content_factors, style_factors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()

    config = StyleConfig()
    images = []
    for path in (options.content, options.style):
        pixels = read_image(path)
        height, width = fit_longest_side(*pixels.shape[:2], options.size)
        images.append(network_input(resize_image(pixels, height, width)))
    table = {}
    for network in ("ranvgg19-zero-bias", "ranvgg19"):
        logs: dict[str, dict[str, list[float]]] = {}
        for seed in range(options.seeds):
            recipe = dataclasses.replace(load_recipe(network), seed=seed, weights_sha256={})
            extractor = feature_extractor(
                build_network(recipe, "conv5_1"), (*config.content_layers, *config.style_layers)
            )
            read = plain_reader(extractor)
            _, content_scales = target_features(read, images[0], config.content_layers)
            _, style_scales = target_features(read, images[1], config.style_layers)
            for weighting in ("magnitude", "signed"):
                omega = content_factors(
                    read, images[0], config.content_layers, weighting, content_scales
                )
                mu = style_factors(read, images[1], config.style_layers, weighting, style_scales)
                balance = logs.setdefault(weighting, {})
                for layer, value in mu.items():
                    ratio = value / sum(omega.values())
                    balance.setdefault(layer, []).append(float(np.log(ratio)))
        table[network] = {
            weighting: {layer: _summary(values) for layer, values in layers.items()}
            for weighting, layers in logs.items()
        }
        for weighting, layers in table[network].items():
            row = "  ".join(f"{layer} {item['std_log']:.2f}" for layer, item in layers.items())
            print(f"{network:20} {weighting:10} {row}", flush=True)
    write_record(options.output, {"seeds": options.seeds, "size": options.size, "balance": table})


def _summary(values: list[float]) -> dict[str, float]:
    return {"mean_log": float(np.mean(values)), "std_log": float(np.std(values, ddof=1))}


if __name__ == "__main__":
    main()
