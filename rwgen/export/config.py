"""Settings of an export. The command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rwgen.checks import check_choice, check_layers, is_count, normalize_fields, unexpected

SignatureName = Literal["features", "features_float", "features_from_bytes", "gram", "pooled"]
"""Names of the signatures that an export can have, see `rwgen.export.signatures.signature`."""

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
"""First bytes of the files that `features_from_bytes` decodes."""

SIGNATURE_NAMES: tuple[SignatureName, ...] = get_args(SignatureName)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Contents of an export.

    Attributes:
        layers: layers whose features are returned, in this order.
        signatures: signatures to export; the first is also `serving_default`.
        size: (height, width) of all images, or None for any size. Dense layers require 256x256.
            Encoded images are resized to this size; with None to 224x224, or 256x256 if there
            are dense layers.

    Raises:
        InvalidInputError: a field is out of range.
    """

    layers: tuple[str, ...] = ("pool3", "pool4", "pool5")
    signatures: tuple[SignatureName, ...] = SIGNATURE_NAMES
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Validate the fields."""
        normalize_fields(self, ("layers", "signatures"))
        for key in ("layers", "signatures"):
            value = getattr(self, key)
            check_layers(key, value)
            if len(set(value)) != len(value):
                raise unexpected(key, "distinct names", value)
        for name in self.signatures:
            check_choice("signatures", name, SIGNATURE_NAMES)
        if self.size is not None and (
            len(self.size) != 2 or not all(is_count(side, 1) for side in self.size)
        ):
            raise unexpected("size", "(height, width) in pixels", self.size)
