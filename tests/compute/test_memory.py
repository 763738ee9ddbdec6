"""The estimate, what is free, and what follows from both."""

import dataclasses
import types

import numpy as np
import pytest

from rwgen import (
    InvalidInputError,
    MemoryLimitError,
    OptimizerConfig,
    StyleConfig,
    TextureConfig,
    invert,
    memory,
    readers,
    synthesize_texture,
    transfer_style,
)
from rwgen.compute.memory import (
    Workload,
    available_memory,
    format_bytes,
    network_workload,
    plan_memory,
)
from rwgen.compute.readers import plain_reader
from rwgen.network.architecture import VGG19

GIB = 2**30


def style_workload(side, **changes):
    layers = ("conv2_2", "conv1_1", "conv5_1")
    size = (side, side)
    work = network_workload(VGG19, layers, size, [size, size], ["conv2_2"], 20)
    return dataclasses.replace(work, **changes)


def test_the_workload_of_vgg19_counts_every_layer_up_to_the_deepest():
    work = network_workload(VGG19, ("conv2_2", "block1_conv1"), (32, 64), [(48, 40)], ["pool1"], 7)
    pixels = 32 * 64
    assert work.features == (64 * pixels, 64 * pixels, 16 * pixels, 32 * pixels, 32 * pixels)
    assert work.targets == [(64 * 1920, 64 * 1920, 16 * 1920, 32 * 1920, 32 * 1920)]
    assert (work.image_size, work.held, work.num_correction_pairs) == (3 * pixels, 16 * 1920, 7)
    assert work.num_weights == work.num_filters == 1792 + 36928 + 73856 + 147584


def test_a_2048_pixel_style_transfer_is_estimated_within_12_gib_only_with_rematerialisation():
    work = style_workload(2048)
    assert work.peak_bytes(True) < 12 * GIB < work.peak_bytes(False)
    assert plan_memory(work, 12 * GIB).rematerialize


def test_the_estimate_is_linear_in_pixels():
    sides = np.array([512, 1024, 2048])  # what is compiled outweighs features on smaller images
    for rematerialize in (False, True):
        peaks = [style_workload(int(side)).peak_bytes(rematerialize) for side in sides]
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
        {"targets": ((10**9,),)},
    ],
)
def test_everything_that_grows_needs_more(change):
    for rematerialize in (False, True):
        less = style_workload(1024).peak_bytes(rematerialize)
        assert style_workload(1024, **change).peak_bytes(rematerialize) > less * 1.05


def test_features_are_kept_if_they_fit_else_computed_again_else_refused():
    work = style_workload(1024)
    kept, again = work.peak_bytes(False), work.peak_bytes(True)
    assert again < kept
    assert not plan_memory(work, None).rematerialize
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


def test_a_models_workload_is_that_of_its_architecture(monkeypatch, small_network):
    """The library counts a model's layers, the command line those of the architecture."""
    from rwgen import Recipe, build_network
    from rwgen.network.architecture import Architecture

    topology = Architecture("small", ((4, 1), (6, 2)))
    model = build_network(Recipe(name="small"), architecture=topology)
    layers, sizes = ("conv1_1", "conv2_2"), [(33, 40), (20, 64)]
    expected = network_workload(topology, layers, sizes[0], sizes, ["conv2_2"], 20)
    expected = dataclasses.replace(expected, num_filters=0)  # too few channels for Winograd
    seen = []

    def plan(work, limit):
        seen.append((work, limit))
        return plan_memory(work, limit)

    monkeypatch.setattr(readers, "plan_memory", plan)
    config = OptimizerConfig()
    for network in (model, small_network()):
        readers.choose_reader(network, layers, sizes[0], sizes, ["conv2_2"], config, 2**60)
    assert seen[0] == (expected, 2**60)
    assert seen[1] == (dataclasses.replace(expected, itemsize=8), 2**60)


def test_filters_that_are_transformed_and_kept_features_count(monkeypatch):
    from rwgen import Recipe, build_network
    from rwgen.compute.winograd import with_winograd
    from rwgen.network.architecture import Architecture

    topology = Architecture("wide", ((64, 1), (128, 1)))
    model = with_winograd(build_network(Recipe(name="wide"), architecture=topology))
    seen = []
    plan = memory.MemoryPlan(rematerialize=False, peak_bytes=1)
    monkeypatch.setattr(readers, "plan_memory", lambda work, _: seen.append(work) or plan)
    readers.choose_reader(
        model, ["conv2_1"], (8, 8), [(8, 8)], ["conv2_1"], OptimizerConfig(), 2**60, True
    )
    assert seen[0].num_filters == 9 * 64 * 128 + 128
    assert seen[0].num_weights == seen[0].num_filters + 9 * 3 * 64 + 64
    kept = dataclasses.replace(seen[0], propagate_differences=False)
    assert seen[0].peak_bytes(False) - kept.peak_bytes(False) == 4 * sum(kept.features)
    assert seen[0].peak_bytes(True) == kept.peak_bytes(True)


@pytest.fixture
def small_networks_save_memory(monkeypatch):
    """Constants with which computing again pays on a few layers of a few pixels too."""
    monkeypatch.setattr(memory, "BASE_BYTES", 0)
    monkeypatch.setattr(memory, "COMPILED_BYTES", {False: 0, True: 0})
    monkeypatch.setattr(memory, "EVALUATION_MAPS", {False: 3.0, True: 3.0})


@pytest.mark.usefixtures("small_networks_save_memory")
def test_a_reader_that_computes_again_is_compiled_in_place_of_the_whole(small_network):
    model, size = small_network(), (400, 400)
    config = OptimizerConfig(num_correction_pairs=1)
    arguments = (model, ["conv2_2"], size, [size], ["conv2_2"], config)
    assert readers.choose_reader(*arguments, limit=None) == (plain_reader, config)
    assert readers.choose_reader(*arguments, limit=2**60) == (plain_reader, config)
    work = network_workload_of(model, size)
    factory, changed = readers.choose_reader(*arguments, limit=work.peak_bytes(True))
    assert factory.keywords == {"jit_compile": True}
    assert changed == dataclasses.replace(config, jit_compile=False)


def network_workload_of(model, size):
    pixels = size[0] * size[1]
    features = (4 * pixels, pixels, 6 * pixels // 4, 6 * pixels // 4)
    return Workload(
        3 * pixels, features, [features], features[-1], model.count_params(), 0, 1, False, 8
    )


def refuse_all(call):
    with pytest.raises(MemoryLimitError):
        call(memory_limit=10**8)


def test_tasks_refuse_before_any_work(monkeypatch, small_network):
    """Nothing of what a task does is reached; the images may be of different sizes."""
    import rwgen.synthesis.tasks

    def unreached(*_, **__):
        raise AssertionError("work was begun")

    for name in ("inversion_objective", "texture_objective", "style_objective", "ImageSearch"):
        monkeypatch.setattr(rwgen.synthesis.tasks, name, unreached)
    model = small_network()
    image, other = np.full((40, 32, 3), 100.0), np.full((36, 44, 3), 50.0)
    style = StyleConfig(content_layers=("conv2_2",), style_layers=("conv1_1",))
    texture = TextureConfig(layers=("conv1_1",))
    refuse_all(lambda **limit: invert(image, "conv2_1", network=model, **limit))
    refuse_all(
        lambda **limit: synthesize_texture(image, (50, 50), network=model, config=texture, **limit)
    )
    refuse_all(lambda **limit: transfer_style(image, [other], network=model, config=style, **limit))


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks_save_memory")
@pytest.mark.parametrize("task", ["invert", "texture", "style"])
def test_tasks_give_the_same_with_and_without_a_limit(monkeypatch, small_network, task):
    """A limit between the two estimates, so that features are computed again."""
    model = small_network()
    image, other = np.random.default_rng(0).uniform(0, 255, (2, 36, 40, 3))
    optimizer = OptimizerConfig(max_iterations=3, num_correction_pairs=1)

    def solve(**limit):
        if task == "invert":
            config = rwgen_config(task, optimizer)
            return invert(image, "conv2_2", network=model, config=config, **limit)
        if task == "texture":
            config = rwgen_config(task, optimizer)
            return synthesize_texture(image, (36, 40), network=model, config=config, **limit)
        config = rwgen_config(task, optimizer)
        return transfer_style(image, [other], network=model, config=config, **limit)

    used = []
    original = readers.rematerialized_reader
    monkeypatch.setattr(
        readers, "rematerialized_reader", lambda *a, **k: used.append(1) or original(*a, **k)
    )
    kept = solve()
    assert not used
    again = solve(memory_limit=between(model, task))
    assert used
    assert again.loss == pytest.approx(kept.loss, rel=1e-6)
    np.testing.assert_allclose(again.image, kept.image, atol=1e-3)


def rwgen_config(task, optimizer):
    from rwgen import InversionConfig

    if task == "invert":
        return InversionConfig(optimizer=optimizer)
    if task == "texture":
        return TextureConfig(layers=("conv1_1", "conv2_2"), octaves=0, optimizer=optimizer)
    return StyleConfig(
        content_layers=("conv2_2",), style_layers=("conv1_1",), octaves=0, optimizer=optimizer
    )


def between(model, task):
    work = network_workload_of(model, (36, 40))
    work = dataclasses.replace(work, held=0) if task == "texture" else work
    kept, again = work.peak_bytes(False), work.peak_bytes(True)
    assert again < kept
    return (kept + again) // 2
