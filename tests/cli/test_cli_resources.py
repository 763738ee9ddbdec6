"""Memory and devices on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from rwgen.cli import resources
from rwgen.compute.memory import Workload, architecture_workload, available_memory
from rwgen.network.architecture import VGG19
from rwgen.optimize.config import OptimizerConfig

MIB = 2**20


def test_what_is_free_is_the_limit_unless_one_is_given(
    call: Callable[..., Any], pictures: Any, fake_tasks: Any, tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(resources, "available_memory", lambda device: 5 * 2**30 + len(device))
    commands = {
        "style": (pictures.content, pictures.style),
        "texture": (pictures.content,),
        "invert": (pictures.content, "--layer", "conv1_1"),
    }
    for command, arguments in commands.items():
        common = (command, *arguments, "-o", tmp_path / "out.png", "--force")
        assert call(*common, "--device", "cpu").code == 0
        assert fake_tasks.last["memory_limit"] == 5 * 2**30 + 3
        assert call(*common, "--memory-limit", "20gib").code == 0
        assert fake_tasks.last["memory_limit"] == 20 * 2**30


def test_neither_memory_nor_device_is_stored_with_the_image(
    call: Callable[..., Any], pictures: Any, fake_tasks: Any, tmp_path: Any
) -> None:
    from rwgen.provenance import read_provenance

    made = tmp_path / "made.png"
    options = ("--layer", "conv1_1", "--memory-limit", "20GiB", "--device", "cpu")
    assert call("invert", pictures.content, *options, "-o", made).code == 0
    assert not {"memory_limit", "device"} & set(read_provenance(str(made), "invert").options)


@pytest.mark.parametrize("quiet", [False, True])
def test_computing_again_is_said_where_progress_is_not(
    call: Callable[..., Any], pictures: Any, fake_tasks: Any, tmp_path: Any, quiet: bool
) -> None:
    arguments = ("invert", pictures.content, "--layer", "conv4_1", "--size", 1024)
    common = (*arguments, "-o", tmp_path / "out.png", "--force", *(["--quiet"] if quiet else []))
    roomy = call(*common, "--memory-limit", "1TB")
    assert (roomy.code, "memory" in roomy.err) == (0, False)
    tight = call(*common, "--memory-limit", "4GiB")
    assert tight.code == 0
    if quiet:
        assert tight.err == ""
        return
    memory, wrote = tight.err.splitlines()
    assert memory.startswith("rwgen: memory: about 3.")
    assert "of 4.0 GiB, recomputing features" in memory
    assert wrote.startswith("rwgen: wrote ")


@pytest.mark.parametrize("command", ["style", "texture", "invert"])
def test_a_gpu_that_is_not_there_is_refused(
    call: Callable[..., Any], pictures: Any, tmp_path: Any, command: str
) -> None:
    inputs = [pictures.content, pictures.style] if command == "style" else [pictures.content]
    layer = ["--layer", "conv1_1"] if command == "invert" else []
    out = tmp_path / "out.png"
    run = call(command, *inputs, *layer, "--device", "gpu:99", "-o", out)
    assert run.code == 2
    assert run.err.startswith("rwgen: --device: expected an existing GPU. Received: gpu:99")
    assert run.err.splitlines(keepends=True) == [run.err]
    assert not out.exists()


def test_what_is_free_here_can_be_found_out() -> None:
    free = available_memory()
    assert free is None or free > 100 * MIB


def _inversion(side: int) -> Workload:
    size = (side, side)
    return architecture_workload(
        VGG19,
        ["conv2_2"],
        size=size,
        targets=[size],
        content_layers=["conv2_2"],
        optimizer=OptimizerConfig(jit_compile=True),
    )


def test_freed_memory_is_kept_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster allocator needs up to a quarter more, and is not for a run that has to save."""
    small, large = _inversion(256), _inversion(2048)
    kept = small.peak_bytes(recompute=False)
    cases = [
        (small, None, "1"),
        (small, 2 * kept, "1"),
        (small, round(1.2 * kept), "0"),
        (large, large.peak_bytes(recompute=True), "0"),
    ]
    for work, limit, expected in cases:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
        resources.plan_resources(work, limit, quiet=True)
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == expected
    # What the environment says already stands.
    resources.plan_resources(small, None, quiet=True)
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
