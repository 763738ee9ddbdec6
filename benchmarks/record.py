"""Records of benchmarks: results with the versions, the hardware and the date."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import rwgen
from rwgen.files import atomic_write

_PACKAGES = ("tensorflow", "tensorflow-probability", "keras", "numpy", "scipy", "pillow")


def write_record(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON, together with the environment in which they were measured."""
    record = {"surroundings": surroundings(), **values}
    atomic_write(path, (json.dumps(record, indent=1) + "\n").encode())


def surroundings() -> dict[str, Any]:
    """Return the command, date, versions, processor and system."""
    return {
        "command": " ".join(Path(word).name for word in sys.argv),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "rwgen": rwgen.__version__,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
