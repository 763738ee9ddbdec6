"""The record of a probe: a JSON file of all inversions, from which a run resumes.

Reading and writing it needs neither TensorFlow nor Pillow.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rwgen.errors import InvalidInputError
from rwgen.files import FileName, atomic_write
from rwgen.probe.summary import LayerProbe, LayerSummary
from rwgen.version import __version__

SCHEMA = 1
"""Version of the file format."""


class Inversion(NamedTuple):
    """What identifies one inversion in a record.

    Attributes:
        model: name of the architecture, or path of its file.
        model_sha256: SHA-256 of the file, empty for a name.
        layer: name of the layer.
        seed: seed of the weights.
    """

    model: str
    model_sha256: str
    layer: str
    seed: int


@dataclass(kw_only=True)
class ProbeRecord:
    """All inversions of one photo with the same settings.

    Attributes:
        settings: what the results depend on besides model, layer and seed: `image_sha256`, `size`,
            `max_iterations` and `bias_stddev`.
        probes: the results so far, in the order in which they were made.
        summaries: one row for each layer; empty until the probe is complete.
        ranking: architectures and mean PSNR in decibels, best first, see `rank_models`.
    """

    settings: Mapping[str, Any]
    probes: dict[Inversion, LayerProbe] = field(default_factory=dict)
    summaries: list[LayerSummary] = field(default_factory=list)
    ranking: list[tuple[str, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Values of the JSON file."""
        return {
            "schema": SCHEMA,
            "rwgen": __version__,
            "settings": dict(self.settings),
            "ranking": [{"model": name, "psnr": value} for name, value in self.ranking],
            "layers": [dataclasses.asdict(row) for row in self.summaries],
            "probes": [
                {
                    "model": key.model,
                    "model_sha256": key.model_sha256,
                    "probe": dataclasses.asdict(probe),
                }
                for key, probe in self.probes.items()
            ],
        }

    def write(self, path: FileName) -> None:
        """Write the record, replacing the file as a whole.

        Raises:
            OutputError: the file could not be written.
        """
        atomic_write(path, f"{json.dumps(self.to_dict(), indent=1)}\n".encode())


def open_record(path: FileName, settings: Mapping[str, Any]) -> ProbeRecord:
    """Inversions of an earlier run with the same settings.

    Args:
        path: JSON file of a record; it need not exist.
        settings: see `ProbeRecord`.

    Returns:
        The record without summaries and ranking, which belong to a list of architectures; empty if
        there is no file.

    Raises:
        InvalidInputError: the file is not a record, or has other settings.
    """
    if not Path(path).exists():
        return ProbeRecord(settings=settings)
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        same = values["schema"] == SCHEMA and values["settings"] == settings
        probes = {}
        for row in values["probes"]:
            probe = LayerProbe(**{**row["probe"], "shape": tuple(row["probe"]["shape"])})
            key = Inversion(row["model"], row["model_sha256"], probe.layer, probe.seed)
            probes[key] = probe
    except (ValueError, KeyError, TypeError, OSError):
        raise InvalidInputError(
            f"output: expected a new file, or one written by `rwgen probe`. Received: {path}"
        ) from None
    if not same:
        raise InvalidInputError(
            "output: expected a new file, or one with the same photo, size and iterations. "
            f"Received: {path}"
        )
    return ProbeRecord(settings=settings, probes=probes)
