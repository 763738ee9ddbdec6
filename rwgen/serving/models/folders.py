"""The version folders of a model."""

from __future__ import annotations

import os
from pathlib import Path

from rwgen.serving.config import MAX_VERSION

MODEL_FILE = "saved_model.pb"
"""A folder without it is no version."""

Fingerprint = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of the files that a version needs."""


def find_versions(base_path: Path) -> dict[int, Path]:
    """The folders of a model that are versions, by number.

    Args:
        base_path: may be missing, or disappear meanwhile.
    """
    found: dict[int, Path] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(base_path))
    except OSError:
        return {}
    for name in names:
        # TensorFlow Serving also takes numbers with zeros before them, such as 00000123.
        if name.isascii() and name.isdigit() and len(name) <= 19:
            version, path = int(name), base_path / name
            if version <= MAX_VERSION and (path / MODEL_FILE).is_file():
                found[version] = path
    return found


def fingerprint(path: Path) -> Fingerprint:
    """What changes while a version is being copied, or when it is mended."""
    files = []
    for folder in (path, path / "variables", path / "assets", path / "assets.extra"):
        try:
            for entry in os.scandir(folder):
                status = entry.stat()
                files.append((entry.path, status.st_size, status.st_mtime_ns))
        except OSError:
            continue
    return tuple(sorted(files))
