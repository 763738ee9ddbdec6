"""Devices by name: what is refused, and what TensorFlow is told."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from rwgen import InvalidInputError, OptimizerConfig, minimize, use_device
from rwgen.compute.device import check_device


@pytest.fixture
def told(monkeypatch):
    """TensorFlow with two GPUs; what it is told is noted and not done."""
    calls = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}-0", f"{kind}-1"])
    monkeypatch.setattr(
        tf.config.experimental,
        "set_memory_growth",
        lambda gpu, wanted: calls.append((gpu, wanted)),
    )
    monkeypatch.setattr(
        tf.config.experimental,
        "enable_tensor_float_32_execution",
        lambda wanted: calls.append(("tf32", wanted)),
    )
    monkeypatch.setattr(
        tf, "device", lambda name: contextlib.nullcontext(calls.append(("device", name)))
    )
    return calls


@pytest.mark.parametrize("name", ["auto", "cpu", "gpu:0", "gpu:12"])
def test_names_of_devices(name):
    assert check_device(name) == name


@pytest.mark.parametrize("name", ["", "gpu", "gpu:", "gpu:-1", "gpu:x", "GPU:0", "tpu:0", "gpu:٣"])
def test_other_names_are_refused_in_one_line(name):
    for call in (check_device, use_device):
        with pytest.raises(InvalidInputError, match="expected auto, cpu or gpu:N") as caught:
            call(name)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "device"), [("auto", None), ("gpu:0", "/GPU:0"), ("gpu:1", "/GPU:1")]
)
def test_a_gpu_takes_memory_as_needed_and_keeps_float32(told, name, device):
    with use_device(name):
        pass
    expected = [("tf32", False), ("GPU-0", True), ("GPU-1", True)]
    assert told == expected + ([("device", device)] if device else [])


def test_the_cpu_leaves_gpus_alone(told):
    with use_device("cpu"):
        pass
    assert told == [("tf32", False), ("device", "/CPU:0")]


def test_a_gpu_that_is_not_there_is_refused(told):
    with pytest.raises(InvalidInputError, match=r"gpu:2; 2 GPU\(s\)") as caught:
        use_device("gpu:2")
    assert len(str(caught.value).splitlines()) == 1
    assert ("device", "/GPU:2") not in told


def test_without_gpus_the_refusal_says_so(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(InvalidInputError, match=r"gpu:0; no GPU that TensorFlow can use"):
        use_device("gpu:0")


def test_memory_growth_may_be_settled_already(told, monkeypatch):
    def settled(gpu, wanted):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", settled)
    with use_device("gpu:1"):
        pass
    assert told[-1] == ("device", "/GPU:1")


def test_a_search_runs_on_the_device_and_gives_the_same():
    before = tf.config.experimental.tensor_float_32_execution_enabled()

    def objective(point):
        return {"a": tf.reduce_sum((point - 1) ** 4)}

    config = OptimizerConfig(max_iterations=5)
    expected = minimize(objective, np.zeros(4, np.float32), config)
    try:
        with use_device("cpu"):
            assert "CPU:0" in tf.zeros([]).device
            found = minimize(objective, np.zeros(4, np.float32), config)
        assert not tf.config.experimental.tensor_float_32_execution_enabled()
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
    np.testing.assert_array_equal(found.image, expected.image)


LOGICAL = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from rwgen import OptimizerConfig, Recipe, build_network, invert, InversionConfig
from rwgen.network.architecture import Architecture
image = np.random.default_rng(0).uniform(0, 255, (32, 32, 3))
seen = set()
with tf.device("/CPU:1"):
    network = build_network(Recipe(name="small"), architecture=Architecture("s", ((4, 1), (4, 1))))
    seen |= {weight.value.device[-5:] for weight in network.weights}
    config = InversionConfig(optimizer=OptimizerConfig(max_iterations=2))
    solution = invert(image, "conv2_1", network=network, config=config)
print(sorted(seen), solution.loss < solution.initial_loss)
"""


def test_nothing_is_bound_to_the_first_device(fresh_process):
    """A second logical CPU stands for a GPU: weights live there, and a search runs."""
    assert fresh_process(LOGICAL) == "['CPU:1'] True"
