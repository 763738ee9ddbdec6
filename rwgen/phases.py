"""Phases of a computation, announced to whoever listens: a progress bar, a profile.

A search takes seconds before its first iteration. Code that takes time says what it does; nothing
happens unless somebody listens. Listeners belong to a context (`contextvars`), so that threads and
tasks hear their own phases only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Phase:
    """A part of a computation.

    Attributes:
        name: what is done, such as `targets`.
        of: what it is done for, such as `512x341`; empty if there is only one.
    """

    name: str
    of: str = ""


class Listener(Protocol):
    """Hears when phases begin and end. Phases may contain others."""

    def began(self, phase: Phase) -> None:
        """A phase has begun."""

    def ended(self, phase: Phase) -> None:
        """A phase has ended, perhaps by an exception."""


_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a listener hear every phase of the block."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


@contextlib.contextmanager
def phase(name: str, of: str = "") -> Iterator[None]:
    """Announce what the block does.

    Args:
        name: see `Phase`.
        of: see `Phase`.
    """
    current, listeners = Phase(name, of), _listeners.get()
    for listener in listeners:
        listener.began(current)
    try:
        yield
    finally:
        for listener in listeners:
            listener.ended(current)
