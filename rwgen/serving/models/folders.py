"""The version folders of a model."""

from __future__ import annotations

import os
from pathlib import Path

from rwgen.serving.config import MAX_VERSION

MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
"""Files of which every version folder contains one."""

Fingerprint = tuple[tuple[str, int, int], ...]
"""Paths, sizes and modification times of the files of a version."""


def find_versions(base_path: Path) -> dict[int, Path]:
    """Return the version folders of a model by number.

    Args:
        base_path: folder of the model. It may be missing, or disappear during the call.
    """
    found: dict[int, Path] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(base_path))
    except OSError:
        return {}
    for name in names:
        # TensorFlow Serving also accepts leading zeros, such as 00000123.
        if name.isascii() and name.isdigit() and len(name) <= 19:
            version, path = int(name), base_path / name
            if version <= MAX_VERSION and any((path / file).is_file() for file in MODEL_FILES):
                found[version] = path
    return found


def fingerprint(path: Path) -> Fingerprint:
    """Return a value that changes while a version is being copied, or when its files are fixed."""
    files = []
    for folder in (path, path / "variables", path / "assets", path / "assets.extra"):
        try:
            for entry in os.scandir(folder):
                status = entry.stat()
                files.append((entry.path, status.st_size, status.st_mtime_ns))
        except OSError:
            continue
    return tuple(sorted(files))
