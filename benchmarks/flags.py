"""One evaluation of the style objective under switches of TensorFlow and XLA.

Switches are read when TensorFlow starts, so each measurement has a process of its own; rounds go
through all switches in turn, and ratios are those of one round to its own plain run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from record import write_record

SWITCHES = {
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "with oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    "freed memory kept": {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296:"
        "glibc.malloc.trim_threshold=8589934592",
    },
    "huge pages": {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    },
    "with oneDNN and huge pages": {
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    },
    "XLA fast math": {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    },
    "XLA vectors of 512 bits": {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "XLA_FLAGS": "--xla_cpu_prefer_vector_width=512",
    },
    "one thread": {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "1"},
    "without XLA": {"TF_ENABLE_ONEDNN_OPTS": "0", "RWGEN_BENCHMARK_JIT": "0"},
    "without XLA, with oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1", "RWGEN_BENCHMARK_JIT": "0"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_measure(options.size)))
        return
    seconds: dict[str, list[float]] = {name: [] for name in SWITCHES}
    for _ in range(options.rounds):
        for name, switches in SWITCHES.items():
            done = subprocess.run(
                [sys.executable, __file__, "--child", "--size", str(options.size)],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **switches},
            )
            seconds[name].append(json.loads(done.stdout.splitlines()[-1]))
    plain = np.array(next(iter(seconds.values())))
    results = {}
    for name, values in seconds.items():
        low, middle, high = np.percentile(np.array(values) / plain, (0, 50, 100))
        results[name] = {"seconds": values, "ratio": [float(low), float(middle), float(high)]}
        print(f"{name}: {middle:.2f} ({low:.2f}..{high:.2f})", flush=True)
    write_record(options.output, {"size": options.size, "results": results})


def _measure(size: int) -> float:
    """Median seconds of an evaluation."""
    import tensorflow as tf

    from rwgen import Minimizer, OptimizerConfig, StyleConfig, build_network, load_recipe
    from rwgen.compute.winograd import with_winograd
    from rwgen.network.preprocess import network_input
    from rwgen.noise import white_noise
    from rwgen.synthesis.objectives import style_objective

    config = StyleConfig()
    network = with_winograd(build_network(load_recipe(config.network), "conv5_1"))
    content, style, start = (network_input(white_noise(seed, (size, size, 3))) for seed in range(3))
    objective = style_objective(network, content, [style], config)
    optimizer = OptimizerConfig(jit_compile=os.environ.get("RWGEN_BENCHMARK_JIT") != "0")
    minimizer = Minimizer(objective, start.shape, config=optimizer)
    position = tf.reshape(tf.constant(start), [-1])
    seconds = []
    for _ in range(12):
        began = time.perf_counter()
        minimizer._objective.evaluate(position)[0].numpy()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:]))


if __name__ == "__main__":
    main()
