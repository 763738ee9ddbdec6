"""Settings of an export; the command line takes its defaults here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rwgen.errors import InvalidInputError

SignatureName = Literal["features", "features_float", "features_from_bytes", "gram", "pooled"]
"""What can be asked of an exported network, see `rwgen.export.signatures.signature`."""

SIGNATURE_NAMES: tuple[SignatureName, ...] = get_args(SignatureName)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What an export holds.

    Attributes:
        layers: layers whose features are given, in this order.
        signatures: what can be asked for; the first is also `serving_default`.
        size: (height, width) of all images, None for any size. Dense layers take 256x256 only.
            Encoded images are resized to it, or else to 224x224.
    """

    layers: tuple[str, ...] = ("pool3", "pool4", "pool5")
    signatures: tuple[SignatureName, ...] = SIGNATURE_NAMES
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        for key in ("layers", "signatures"):
            value = getattr(self, key)
            if isinstance(value, str) or not value or len(set(value)) != len(value):
                raise InvalidInputError(f"{key}: expected distinct names. Received: {value!r}")
        for name in self.signatures:
            if name not in SIGNATURE_NAMES:
                raise InvalidInputError(
                    f"signatures: expected some of {', '.join(SIGNATURE_NAMES)}. Received: {name!r}"
                )
        if self.size is not None and (
            len(self.size) != 2
            or any(isinstance(side, bool) or not isinstance(side, int) for side in self.size)
        ):
            raise InvalidInputError(f"size: expected (height, width). Received: {self.size!r}")
