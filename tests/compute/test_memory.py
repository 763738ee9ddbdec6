"""The estimate, what is free, and what follows from both."""

import dataclasses
import math
import types

import numpy as np
import pytest

from rwgen import (
    InvalidInputError,
    MemoryLimitError,
    OptimizerConfig,
    Recipe,
    build_network,
)
from rwgen.compute import memory
from rwgen.compute.memory import (
    Workload,
    architecture_workload,
    available_memory,
    format_bytes,
    plan_memory,
)
from rwgen.compute.plan import ComputePlan, network_workload
from rwgen.compute.winograd import WinogradConv2D
from rwgen.network.architecture import VGG19

GIB = 2**30


def style_workload(side, **changes):
    layers = ("conv2_2", "conv1_1", "conv5_1")
    size = (side, side)
    work = architecture_workload(
        VGG19,
        layers,
        size=size,
        targets=[size, size],
        content_layers=["conv2_2"],
        optimizer=OptimizerConfig(jit_compile=True),
    )
    return dataclasses.replace(work, **changes)


def test_the_workload_of_vgg19_counts_every_layer_up_to_the_deepest():
    work = architecture_workload(
        VGG19,
        ("conv2_2", "block1_conv1"),
        size=(32, 64),
        targets=[(48, 40)],
        content_layers=["pool1"],
        optimizer=OptimizerConfig(num_correction_pairs=7, jit_compile=True),
    )
    pixels = 32 * 64
    assert work.features == (64 * pixels, 64 * pixels, 16 * pixels, 32 * pixels, 32 * pixels)
    assert work.targets == [(64 * 1920, 64 * 1920, 16 * 1920, 32 * 1920, 32 * 1920)]
    assert (work.image_size, work.held, work.num_correction_pairs) == (3 * pixels, 16 * 1920, 7)
    assert work.num_weights == 1792 + 36928 + 73856 + 147584
    assert work.num_filters == work.num_weights - 1792  # conv1_1 has three input channels


def test_a_2048_pixel_style_transfer_is_estimated_within_12_gib_only_with_recomputation():
    work = style_workload(2048)
    assert work.peak_bytes(True) < 12 * GIB < work.peak_bytes(False)
    assert plan_memory(work, 12 * GIB).recompute


def test_the_estimate_is_linear_in_pixels():
    sides = np.array([512, 1024, 2048])  # what is compiled outweighs features on smaller images
    for recompute in (False, True):
        peaks = [style_workload(int(side)).peak_bytes(recompute) for side in sides]
        slopes = np.diff(peaks) / np.diff(sides**2)
        np.testing.assert_allclose(slopes, slopes[0], rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 3 * 3000 * 3000},
        {"held": 10**9},
        {"num_weights": 10**9},
        {"num_filters": 10**9},
        {"num_correction_pairs": 200},
        {"itemsize": 8},
        {"features": (10**9,)},
        {"guided": (10**9,)},
        {"targets": ((10**9,),)},
    ],
)
def test_everything_that_grows_needs_more(change):
    for recompute in (False, True):
        less = style_workload(1024).peak_bytes(recompute)
        assert style_workload(1024, **change).peak_bytes(recompute) > less * 1.05


def test_features_are_kept_if_they_fit_else_recomputed_else_refused():
    work = style_workload(1024)
    kept, again = work.peak_bytes(False), work.peak_bytes(True)
    assert again < kept
    assert not plan_memory(work, None).recompute
    assert plan_memory(work, kept) == memory.MemoryPlan(False, kept)
    assert plan_memory(work, kept - 1) == memory.MemoryPlan(True, again)
    assert plan_memory(work, again) == memory.MemoryPlan(True, again)
    with pytest.raises(MemoryLimitError) as caught:
        plan_memory(work, again - 1)
    assert isinstance(caught.value, InvalidInputError)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert format_bytes(again) in text
    assert "smaller size" in text
    assert "memory limit" in text


def test_bytes_are_said_in_units_that_fit():
    assert format_bytes(12 * GIB) == "12.0 GiB"
    assert format_bytes(800 * 2**20) == "800 MiB"


def system(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {"proc/meminfo": "MemTotal:       16384 kB\nMemAvailable:    8192 kB\n"}
V2 = {
    "proc/self/cgroup": "0::/jobs/one\n",
    "sys/fs/cgroup/jobs/one/memory.max": "max\n",
    "sys/fs/cgroup/jobs/one/memory.current": "1000\n",
    "sys/fs/cgroup/jobs/memory.max": "5000000\n",
    "sys/fs/cgroup/jobs/memory.current": "3000000\n",
    "sys/fs/cgroup/jobs/memory.stat": "anon 7\ninactive_file 500000\n",
}
V1 = {
    "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/outside\n0::/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000000\n",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MEMINFO, 8192 * 1024),
        ({**MEMINFO, **V2}, 2_500_000),
        ({**MEMINFO, **V1}, 3_000_000),
        ({**MEMINFO, **V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9" * 18}, 8192 * 1024),
        ({**V2, "sys/fs/cgroup/jobs/memory.current": "9000000\n"}, 0),
    ],
)
def test_what_is_free_respects_control_groups(tmp_path, files, expected):
    system(tmp_path, files)
    assert available_memory("cpu", tmp_path) == expected


def test_a_gpu_has_its_own_memory(tmp_path, monkeypatch):
    system(tmp_path, MEMINFO)
    seen = []

    def run(command, **_):
        seen.append(command[1])
        return types.SimpleNamespace(stdout="4\n")

    monkeypatch.setattr(memory.subprocess, "run", run)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert available_memory("gpu:1", tmp_path) == 4 * 2**20
    assert available_memory("auto", tmp_path) == 4 * 2**20
    assert available_memory("cpu", tmp_path) == 8192 * 1024
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    assert available_memory("gpu:1", tmp_path) == 4 * 2**20
    assert seen == ["--id=1", "--id=0", "--id=7"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert available_memory("auto", tmp_path) == 8192 * 1024
    assert len(seen) == 3


def test_without_the_drivers_tool_nothing_is_known_of_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert available_memory("gpu:0", tmp_path) is None


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(blocks=((4, 1), (6, 2))),
        Recipe(blocks=((64, 2), (128, 1))),
        Recipe(blocks=((64, 2), (128, 1)), padding="symmetric"),
        Recipe(width=0.5),
    ],
    ids=["few channels", "Winograd", "symmetric", "half width"],
)
def test_a_network_and_its_architecture_have_the_same_workload(recipe):
    """The command line counts layers of the architecture, the library those of the network."""
    task = {
        "layers": ("conv1_1", "conv2_1"),
        "size": (33, 40),
        "targets": [(33, 40), (20, 64)],
        "content_layers": ["block2_conv1"],
        "optimizer": OptimizerConfig(jit_compile=True),
        "propagate_differences": True,
    }
    expected = architecture_workload(recipe.topology, **task)
    plain = build_network(recipe, "conv2_1")
    assert network_workload(plain, **task) == expected
    double = build_network(recipe, "conv2_1", dtype="float64")
    doubled = dataclasses.replace(expected, itemsize=8)
    assert network_workload(double, **task) == doubled
    regions = {"style_layers": ["conv2_1", "block1_conv1"], "num_regions": 3}
    guided = network_workload(plain, **task, **regions)
    assert guided == architecture_workload(recipe.topology, **task, **regions)
    # Two more copies of the deepest layer and of the first one.
    assert guided.guided == [2 * guided.features[-1], 2 * guided.features[0]]
    without = dataclasses.replace(expected, num_filters=0)
    task["optimizer"] = OptimizerConfig(jit_compile=True, winograd=False)
    assert network_workload(plain, **task) == without
    assert architecture_workload(recipe.topology, **task) == without
    task["optimizer"] = OptimizerConfig(jit_compile=False)
    plainly = dataclasses.replace(expected, compiled=False)
    assert network_workload(plain, **task) == plainly
    assert architecture_workload(recipe.topology, **task) == plainly
    # The transformed filters that are counted are those of the network that computes.
    computing = ComputePlan().network(plain)
    copies = [layer for layer in computing.layers if isinstance(layer, WinogradConv2D)]
    assert sum(layer.count_params() for layer in copies) == expected.num_filters


def test_long_searches_are_compiled_and_short_ones_are_not():
    """Against the multiplications of each layer, written out."""
    pixels = 20 * 30
    # conv1_1 has three input channels.
    forward = pixels * 256 * 256 * 9 + pixels // 4 * 256 * 320 * 9
    enough = math.ceil(memory.COMPILED_MULTIPLICATIONS / forward)
    recipe = Recipe(blocks=((256, 2), (320, 1)))
    network = build_network(recipe, "conv2_1")

    def works(**settings):
        task = {
            "layers": ["conv2_1"],
            "size": (20, 30),
            "targets": [(9, 9)],
            "content_layers": [],
            "optimizer": OptimizerConfig(**settings),
        }
        return architecture_workload(recipe.topology, **task), network_workload(network, **task)

    for iterations, compiled in ((enough - 1, False), (enough, True)):
        for work in works(max_iterations=iterations):
            assert work.compiled == compiled
    for choice in (False, True):
        for iterations in (1, enough):
            for work in works(max_iterations=iterations, jit_compile=choice):
                assert work.compiled == choice


def test_a_search_that_is_not_compiled_needs_less_on_small_images_and_as_much_if_recomputed():
    compiled, plain = style_workload(256), style_workload(256, compiled=False)
    assert plain.peak_bytes(False) < compiled.peak_bytes(False)
    assert plain.peak_bytes(True) == compiled.peak_bytes(True)


def test_kept_features_of_the_target_count_unless_they_are_recomputed():
    work = style_workload(64, propagate_differences=True)
    plain = style_workload(64)
    assert work.peak_bytes(False) - plain.peak_bytes(False) == 4 * sum(plain.features)
    assert work.peak_bytes(True) == plain.peak_bytes(True)


@pytest.fixture
def small_networks_save_memory(monkeypatch):
    """Constants with which recomputation pays on a few layers of a few pixels too."""
    monkeypatch.setattr(memory, "BASE_BYTES", 0)
    monkeypatch.setattr(memory, "COMPILED_BYTES", {False: 0, True: 0})
    monkeypatch.setattr(memory, "EVALUATION_MAPS", {False: 3.0, True: 3.0})


@pytest.mark.usefixtures("small_networks_save_memory")
def test_a_plan_recomputes_what_does_not_fit(small_network):
    work = network_workload_of(small_network(), (400, 400))
    keeping = ComputePlan(propagate_differences=True)
    for limit in (None, 2**60):
        assert keeping.within(limit, work) == keeping
    recomputing = keeping.within(work.peak_bytes(True), work)
    assert recomputing == dataclasses.replace(keeping, recompute=True)
    plain = dataclasses.replace(keeping, jit_compile=False)
    assert plain.within(None, work) == plain
    assert plain.within(work.peak_bytes(True), work) == recomputing
    assert (keeping.compiles_objective, keeping.uses_differences) == (True, True)
    assert (recomputing.compiles_objective, recomputing.uses_differences) == (False, False)
    assert not dataclasses.replace(keeping, jit_compile=False).compiles_objective


def network_workload_of(model, size):
    pixels = size[0] * size[1]
    features = (4 * pixels, pixels, 6 * pixels // 4, 6 * pixels // 4)
    return Workload(
        3 * pixels,
        features,
        [features],
        features[-1],
        model.count_params(),
        num_filters=0,
        num_correction_pairs=1,
        itemsize=8,
    )
