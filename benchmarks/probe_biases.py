"""How large biases should be where `rwgen probe` draws the weights of an architecture.

Inverts one photo from a middle and a deep layer of each architecture, with biases of several
scales. Prints PSNR in decibels as rows of a Markdown table.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from record import write_record

from rwgen import read_image, resize_image
from rwgen.images import central_square
from rwgen.probe.architectures import load_architecture
from rwgen.probe.config import ProbeConfig
from rwgen.probe.layers import probe_layer

EXAMPLES = Path(__file__).parent.parent / "examples"
LAYERS = {
    "alexnet": ("conv2", "pool5"),
    "vgg16": ("block3_pool", "block5_pool"),
    "resnet50": ("conv2_block3_out", "conv4_block6_out"),
    "mobilenetv2": ("block_3_expand_relu", "out_relu"),
}
STDDEVS = (0.0, 0.1, 0.5, 2.0, 8.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--photo", default="astronaut")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    photo = central_square(read_image(EXAMPLES / f"{options.photo}.jpg"))
    pixels = resize_image(photo, options.size, options.size)
    results: list[dict[str, Any]] = []
    for name in options.models:
        model = load_architecture(name, options.size)
        for layer in LAYERS[name]:
            cells = []
            for stddev in STDDEVS:
                config = ProbeConfig(max_iterations=options.iterations, bias_stddev=stddev)
                for seed in range(options.seeds):
                    found = probe_layer(model, layer, pixels, seed, config)
                    results.append({"model": name, "bias_stddev": stddev, **asdict(found)})
                    cells.append("-" if found.psnr is None else f"{found.psnr:.1f}")
            print(f"| {name} {layer} | {' | '.join(cells)} |", flush=True)
            settings = {**vars(options), "output": options.output.name}
            write_record(options.output, {"settings": settings, "results": results})


if __name__ == "__main__":
    main()
