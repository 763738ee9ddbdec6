"""Values of style images, kept from one call of a task for the next ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

MAX_TARGETS = 8
"""Number of values to keep: those of as many sizes; they are small, but guides are not."""


class StyleTargets:
    """Values that were computed for style images, by all that they depend on but the network.

    So an object belongs to one network, whose weights must not change. Not thread-safe.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The values of a key, computed if there are none.

        Args:
            key: everything that decides the values besides the network.
            compute: computes them.
        """
        if key not in self._found:
            self._found[key] = compute()
        self._found.move_to_end(key)
        if len(self._found) > MAX_TARGETS:
            self._found.popitem(last=False)
        return self._found[key]
