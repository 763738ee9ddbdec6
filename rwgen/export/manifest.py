"""The manifest of an export: how it was made, its contents, and the SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rwgen.errors import InvalidInputError

MANIFEST_FILE = "manifest.json"
"""Name of the manifest in the folder of a version."""

SCHEMA_VERSION = 1

_MAX_BYTES = 1 << 22


@dataclass(frozen=True)
class Manifest:
    """Description of an export.

    Attributes:
        name: name of the model.
        recipe: the network, as returned by `Recipe.to_dict`, with the SHA-256 of every weight.
        layers: layers whose features are returned.
        signatures: inputs and outputs by signature: {"inputs": {name: {"dtype": ..., "shape":
            [...]}}, "outputs": ...}; None in a shape means any size.
        resize_to: (height, width) that encoded images are resized to.
        versions: versions of rwgen and of the other packages that wrote the export, by name.
        files: SHA-256 of every other file of the version, by path.
        per_image: names of the signatures whose outputs for an image do not depend on the other
            images of a batch, so that a server may combine requests.
    """

    name: str
    recipe: Mapping[str, Any]
    layers: tuple[str, ...]
    signatures: Mapping[str, Mapping[str, Any]]
    resize_to: tuple[int, int]
    versions: Mapping[str, str]
    files: Mapping[str, str]
    per_image: tuple[str, ...] = ()


def write_manifest(version: Path, manifest: Manifest) -> None:
    """Write the manifest into the folder of a version."""
    data = {"schema_version": SCHEMA_VERSION, **vars(manifest)}
    text = json.dumps(data, indent=2) + "\n"
    (version / MANIFEST_FILE).write_text(text, encoding="utf-8")


def read_manifest(version: Path) -> Manifest:
    """Read the manifest of a version.

    Raises:
        InvalidInputError: the manifest is missing, malformed, or has another schema version.
    """
    path = version / MANIFEST_FILE
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MAX_BYTES))
        if not isinstance(data, dict) or data.pop("schema_version", None) != SCHEMA_VERSION:
            raise ValueError(f"schema_version is not {SCHEMA_VERSION}")
        manifest = Manifest(**data)
        height, width = manifest.resize_to
        return replace(
            manifest,
            layers=tuple(manifest.layers),
            resize_to=(height, width),
            per_image=tuple(manifest.per_image),
        )
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"expected an export of rwgen with {MANIFEST_FILE}. Received: {str(path)!r} ({reason})"
        ) from None


def damaged_files(version: Path, manifest: Manifest) -> list[str]:
    """Return the sorted paths of files that are missing, unlisted, or differ from the manifest."""
    found = file_hashes(version)
    names = {*found, *manifest.files}
    return sorted(name for name in names if found.get(name) != manifest.files.get(name))


def file_hashes(version: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a version except the manifest, sorted by path."""
    hashes = {}
    for path in sorted(version.rglob("*")):
        name = path.relative_to(version).as_posix()
        if path.is_file() and name != MANIFEST_FILE:
            with path.open("rb") as file:
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def latest_version(model: Path) -> Path:
    """Return the folder of the highest version of a model.

    Args:
        model: folder of a model, or of one version, which is returned unchanged.

    Raises:
        InvalidInputError: the folder is neither.
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
    """Return the version folders of a model by number; empty if there is no such folder."""
    if not model.is_dir():
        return {}
    return {
        int(path.name): path
        for path in model.iterdir()
        if path.name.isdecimal() and path.name.isascii() and path.is_dir()
    }
