"""`rwgen doctor`: what this machine has, and what is slow on it and why."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json as json_module
import os
import platform
import time
from typing import Any

from rwgen.cli import options
from rwgen.cli.exit_codes import EXIT_FAILED
from rwgen.cli.stderr import native_stderr_hidden
from rwgen.compute.machine import Machine, findings, this_machine
from rwgen.compute.memory import architecture_workload, format_bytes
from rwgen.network.lookup import load_recipe
from rwgen.synthesis.config import StyleConfig
from rwgen.synthesis.margins import searched_size

PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy", "scipy", "pillow")
"""Packages that decide results and speed."""

EXTRAS = {
    "heif": "pillow-heif",
    "ray": "ray",
    "reproduce": "jinja2",
    "serve": "grpcio-health-checking",
    "tensorboard": "tensorboard",
}
"""A package of each extra that nothing else needs."""


def doctor(json: options.Json = False) -> int:
    """Show versions, devices and memory, and say what makes a search slow here.

    Example: rwgen doctor --json
    """
    machine = this_machine()
    tensorflow = _tensorflow()
    gpus = tensorflow["gpus"]
    needed = _needed()
    slow = [*tensorflow.pop("problems"), *findings(machine, needed, gpus)]
    versions = {
        "rwgen": _version("rwgen"),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }
    extras = {extra: _version(package) for extra, package in EXTRAS.items()}
    if json:
        values = {
            "versions": versions,
            "extras": extras,
            "machine": dataclasses.asdict(machine),
            "tensorflow": tensorflow,
            "style_bytes": needed,
            "findings": slow,
        }
        print(json_module.dumps(values))
    else:
        _print(_rows(versions, extras, machine, tensorflow, needed), slow)
    return 0 if tensorflow["imported"] else EXIT_FAILED


def _tensorflow() -> dict[str, Any]:
    """Whether TensorFlow works, how long it takes to import, and the devices that it finds."""
    began = time.perf_counter()
    found: dict[str, Any] = {
        "imported": False, "seconds": None, "onednn": None, "gpus": [], "problems": []
    }  # fmt: skip
    try:
        with native_stderr_hidden():
            import tensorflow as tf

            devices = tf.config.list_physical_devices("GPU")
            details = [tf.config.experimental.get_device_details(device) for device in devices]
    except Exception as error:  # a broken installation may raise anything
        reason = " ".join(str(error).split())[:200]
        found["problems"].append(f"TensorFlow cannot be imported: {reason}")
        return found
    found |= {
        "imported": True,
        "seconds": round(time.perf_counter() - began, 1),
        # On by default on x86; the commands decide by the memory that a task takes.
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "by task"),
        "gpus": [
            str(detail.get("device_name", device.name))
            for device, detail in zip(devices, details, strict=True)
        ],
    }
    if not devices:
        found["problems"].append(
            "TensorFlow finds no GPU, so searches run on the processor; with a GPU of NVIDIA, "
            'pip install "tensorflow[and-cuda]"'
        )
    return found


def _needed() -> int:
    """Bytes that a style at the default size takes: a square, the largest of its kind."""
    config = StyleConfig()
    style = (options.DEFAULT_SIZE, options.DEFAULT_SIZE)
    size = searched_size(style, config.margin)
    work = architecture_workload(
        load_recipe(config.network).topology,
        (*config.content_layers, *config.style_layers),
        size=size,
        targets=[size, style],
        content_layers=config.content_layers,
        optimizer=config.optimizer,
    )
    return work.peak_bytes(recompute=False)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _rows(
    versions: dict[str, str | None],
    extras: dict[str, str | None],
    machine: Machine,
    tensorflow: dict[str, Any],
    needed: int,
) -> list[tuple[str, str]]:
    def size(count: int | None) -> str:
        return "unknown" if count is None else format_bytes(count)

    limit = "none" if machine.core_limit is None else f"{machine.core_limit:g}"
    rows = [(name, version or "missing") for name, version in versions.items()]
    rows += [
        ("extras", ", ".join(name for name, version in extras.items() if version) or "none"),
        ("system", machine.system),
        ("processor", machine.processor or "unknown"),
        ("units", "unknown" if machine.flags is None else " ".join(machine.flags) or "none"),
        ("cores", f"{machine.bound_cores} of {machine.cores}, limit of the control group: {limit}"),
        ("memory", f"{size(machine.free_memory)} free of {size(machine.memory)}"),
        ("memory limit", "none" if machine.memory_limit is None else size(machine.memory_limit)),
        ("a style takes", f"{size(needed)} at {options.DEFAULT_SIZE} pixels"),
        ("GPUs", ", ".join(tensorflow["gpus"]) or "none"),
        ("oneDNN", str(tensorflow["onednn"])),
        ("import", f"{tensorflow['seconds']} s of TensorFlow"),
    ]
    rows += machine.environment.items()
    return rows


def _print(rows: list[tuple[str, str]], slow: list[str]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    print("\nWhat is slow, and why:" if slow else "\nNothing is unusual.")
    for line in slow:
        print(f"- {line}")
