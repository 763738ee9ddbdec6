"""What a machine has and what is slow on it, from files of Linux."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from rwgen.cli.main import main
from rwgen.compute.machine import Machine, findings, this_machine
from rwgen.compute.memory import architecture_workload
from rwgen.network.lookup import load_recipe
from rwgen.synthesis.config import StyleConfig

GIB = 2**30


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_container_of_version_2_is_described(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        proc__cpuinfo="processor : 0\nmodel name : Chip 9\nflags : fpu avx2 fma amx_bf16\n\n"
        "processor : 1\nmodel name : Other\nflags : fpu\n",
        proc__meminfo="MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n",
        proc__self__cgroup="0::/a/b\n",
        sys__fs__cgroup__a__cpu_DOT_max="150000 100000\n",
        sys__fs__cgroup__a__b__cpu_DOT_max="max 100000\n",
        sys__fs__cgroup__a__memory_DOT_max=str(4 * GIB),
        sys__fs__cgroup__a__memory_DOT_current=str(GIB),
    )
    found = this_machine(root)
    assert found.processor == "Chip 9"
    assert found.flags == ("avx2", "fma", "amx_bf16")
    assert found.core_limit == 1.5
    assert (found.memory, found.memory_limit, found.free_memory) == (16 * GIB, 4 * GIB, 3 * GIB)
    assert found.usable_cores == min(2, found.bound_cores)


def test_a_container_of_version_1_is_described(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        proc__self__cgroup="4:cpu,cpuacct:/c\n3:memory:/c\n",
        sys__fs__cgroup__cpu__c__cpu_DOT_cfs_quota_us="-1",
        sys__fs__cgroup__cpu__c__cpu_DOT_cfs_period_us="100000",
        sys__fs__cgroup__cpu__cpu_DOT_cfs_quota_us="50000",
        sys__fs__cgroup__cpu__cpu_DOT_cfs_period_us="100000",
        sys__fs__cgroup__memory__c__memory_DOT_limit_in_bytes=str(2**63 - 4096),
    )
    found = this_machine(root)
    assert (found.core_limit, found.usable_cores) == (0.5, 1)
    assert (found.memory, found.memory_limit, found.flags) == (None, None, None)


def test_nothing_is_known_without_files(tmp_path: Path) -> None:
    found = this_machine(tmp_path)
    assert (found.core_limit, found.memory, found.free_memory) == (None, None, None)
    assert found.cores == os.cpu_count()


PLAIN = {"system": "x", "cores": 8, "bound_cores": 8, "flags": ("avx2",), "free_memory": 9 * GIB}


@pytest.mark.parametrize(
    ("values", "gpus", "words"),
    [
        ({}, ["a GPU"], []),
        ({}, [], ["--precision bfloat16 is emulated"]),
        ({"flags": ("avx2", "avx512_bf16")}, [], ["bfloat16 is faster here"]),
        ({"flags": ("fma",)}, [], ["no AVX2"]),
        ({"flags": None}, [], []),
        ({"bound_cores": 2}, ["a GPU"], ["2 of 8 cores"]),
        ({"core_limit": 2.5}, ["a GPU"], ["set TF_NUM_INTRAOP_THREADS=3"]),
        ({"environment": {"TF_NUM_INTRAOP_THREADS": "3"}}, ["a GPU"], ["leaves 5 cores idle"]),
        ({"environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}}, ["a GPU"], ["oneDNN"]),
        ({"free_memory": GIB}, ["a GPU"], ["1.0 GiB of memory are free", "2.0 GiB"]),
    ],
)
def test_what_is_slow_is_told_with_its_reason(
    values: dict[str, Any], gpus: list[str], words: list[str]
) -> None:
    lines = findings(Machine(**{**PLAIN, **values}), 2 * GIB, gpus)
    assert len(lines) == min(1, len(words))
    for word in words:
        assert word in lines[0]


def test_doctor_reports_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    import tensorflow as tf

    assert values["versions"]["tensorflow"] == tf.__version__
    assert values["tensorflow"]["imported"]
    assert len(values["tensorflow"]["gpus"]) == len(tf.config.list_physical_devices("GPU"))
    machine = values["machine"]
    assert machine["bound_cores"] == len(os.sched_getaffinity(0))
    lines = Path("/proc/meminfo").read_text().splitlines()
    assert f"MemTotal: {machine['memory'] // 1024} kB" in [" ".join(line.split()) for line in lines]
    config = StyleConfig()
    work = architecture_workload(
        load_recipe(config.network).topology,
        (*config.content_layers, *config.style_layers),
        size=(512 + 2 * 16, 512 + 2 * 16),
        targets=[(512 + 2 * 16, 512 + 2 * 16), (512, 512)],
        content_layers=config.content_layers,
        optimizer=config.optimizer,
    )
    assert values["style_bytes"] == work.peak_bytes(recompute=False)


def test_doctor_says_it_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert {"rwgen", "tensorflow", "processor", "memory", "oneDNN"} <= {
        line.split()[0] for line in text.splitlines() if line
    }


def test_doctor_reports_a_tensorflow_that_does_not_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert main(["doctor", "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert not values["tensorflow"]["imported"]
    assert values["findings"][0].startswith("TensorFlow cannot be imported: ")
