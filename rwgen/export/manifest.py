"""The manifest of an export: what made it, what it holds, and the SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwgen.errors import InvalidInputError

MANIFEST_FILE = "manifest.json"
"""Its name, inside a version."""

SCHEMA_VERSION = 1

_MAX_BYTES = 1 << 22


@dataclass(frozen=True)
class Manifest:
    """What is known of an export.

    Attributes:
        name: the model's name.
        recipe: the network, as `Recipe.to_dict` gives it, with the SHA-256 of every weight.
        layers: whose features are given.
        signatures: by name their inputs and outputs: {"inputs": {name: {"dtype": ..., "shape":
            [...]}}, "outputs": ...}; None is any size.
        resize_to: (height, width) that encoded images are resized to.
        versions: of rwgen and of the packages that wrote it, by name.
        files: SHA-256 of every other file of the version, by path.
    """

    name: str
    recipe: Mapping[str, Any]
    layers: tuple[str, ...]
    signatures: Mapping[str, Mapping[str, Any]]
    resize_to: tuple[int, int]
    versions: Mapping[str, str]
    files: Mapping[str, str]


def write_manifest(version: Path, manifest: Manifest) -> None:
    """Write the manifest into the folder of a version."""
    data = {"schema_version": SCHEMA_VERSION, **vars(manifest)}
    text = json.dumps(data, indent=2) + "\n"
    (version / MANIFEST_FILE).write_text(text, encoding="utf-8")


def read_manifest(version: Path) -> Manifest:
    """Read the manifest of a version.

    Raises:
        InvalidInputError: there is none, or it is not one that this program reads.
    """
    path = version / MANIFEST_FILE
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MAX_BYTES))
        if not isinstance(data, dict) or data.pop("schema_version", None) != SCHEMA_VERSION:
            raise ValueError(f"schema_version is not {SCHEMA_VERSION}")
        manifest = Manifest(**data)
        return Manifest(
            **{
                **vars(manifest),
                "layers": tuple(manifest.layers),
                "resize_to": tuple(manifest.resize_to),
            }
        )
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"expected an export of rwgen, with {MANIFEST_FILE}. Received: {str(path)!r} ({reason})"
        ) from None


def damaged_files(version: Path, manifest: Manifest) -> list[str]:
    """Paths of files that are missing, new, or not what the manifest says, sorted."""
    found = file_hashes(version)
    names = {*found, *manifest.files}
    return sorted(name for name in names if found.get(name) != manifest.files.get(name))


def file_hashes(version: Path) -> dict[str, str]:
    """SHA-256 of every file of a version but the manifest, by path, sorted."""
    hashes = {}
    for path in sorted(version.rglob("*")):
        name = path.relative_to(version).as_posix()
        if path.is_file() and name != MANIFEST_FILE:
            with path.open("rb") as file:
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def latest_version(model: Path) -> Path:
    """The folder with the highest number in the folder of a model, or the folder itself.

    Args:
        model: a model's folder, or a version's.

    Raises:
        InvalidInputError: it is neither.
    """
    if (model / "saved_model.pb").is_file():
        return model
    versions = version_folders(model)
    if not versions:
        raise InvalidInputError(
            f"expected the folder of an exported model or version. Received: {str(model)!r}"
        )
    return versions[max(versions)]


def version_folders(model: Path) -> dict[int, Path]:
    """Folders of a model's versions, by number; none where there is no such folder."""
    if not model.is_dir():
        return {}
    return {
        int(path.name): path
        for path in model.iterdir()
        if path.name.isdecimal() and path.name.isascii() and path.is_dir()
    }
