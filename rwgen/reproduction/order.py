"""A part to be made by another process, which alone imports TensorFlow for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rwgen.reproduction.parts import Part
from rwgen.reproduction.store import Store


@dataclass(frozen=True)
class Order:
    """A part to be made.

    Attributes:
        folder: of the reproduction.
        part: what is wanted; the stack that it needs has been made.
    """

    folder: Path
    part: Part


def fulfil(order: Order) -> None:
    """Make the part; see `rwgen.reproduction.make.make_part`."""
    from rwgen.reproduction.make import make_part

    make_part(order.part, Store(order.folder))
