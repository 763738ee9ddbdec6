"""Networks and searches kept for the next call.

Building a network, and tracing and compiling the functions of a search, takes longer than a short
search itself, and leaves memory behind that TensorFlow never returns. So the last few are kept.
Nothing grows: the number of each is limited, and searches go with the network that they belong to.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from weakref import WeakKeyDictionary

import keras
import tensorflow as tf

from rwgen.network.recipe import Recipe
from rwgen.network.vgg import build_network, weight_fingerprints
from rwgen.optimize.minimizer import Minimizer

MAX_SEARCHES = 8
"""Number of idle searches that are kept for a network: enough for every size of a large image,
which are used in turn."""

MAX_NETWORKS = 2
"""Number of networks that are kept: one for styles and textures, and one for inversions."""

MAX_PARAMETERS = 2**25
"""Largest network that is kept, in parameters: all convolutions of VGG-19, not its dense layers."""


class SearchPool:
    """Idle searches by network and key; whoever borrows one has it alone.

    A search must not refer to its network, only to its layers: the pool would keep it alive.
    """

    def __init__(self, max_searches: int = MAX_SEARCHES) -> None:
        """Create an empty pool.

        Args:
            max_searches: number of idle searches to keep for each network; those that have not
                been used for longest are dropped.
        """
        self._max_searches = max_searches
        self._idle: WeakKeyDictionary[keras.Model, OrderedDict[Hashable, Minimizer]] = (
            WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def borrow(
        self, network: keras.Model, key: Hashable, make: Callable[[], Minimizer]
    ) -> Iterator[Minimizer]:
        """A search for the block alone, which becomes idle unless the block raises an exception.

        Args:
            network: the network whose features it compares.
            key: everything that decides the functions of the search.
            make: makes one if none is idle.
        """
        with self._lock:
            search = self._idle.setdefault(network, OrderedDict()).pop(key, None)
        search = search or make()
        yield search
        with self._lock:
            idle = self._idle.setdefault(network, OrderedDict())
            idle[key] = search
            idle.move_to_end(key)
            while len(idle) > self._max_searches:
                idle.popitem(last=False)

    def count(self, network: keras.Model) -> int:
        """Number of idle searches of a network."""
        with self._lock:
            return len(self._idle.get(network, ()))


SEARCHES = SearchPool()
"""The searches of all tasks."""


def network_key(network: keras.Model, computed: keras.Model) -> Hashable:
    """What can change in a network that the functions of a search would not notice.

    Args:
        network: the network of a task.
        computed: the same, or a copy to compute with, whose weights do not follow.

    Returns:
        A key; one that equals no other if the network cannot be described.
    """
    try:
        description = network.to_json()
    except (NotImplementedError, TypeError, ValueError):  # a layer without `get_config`
        return object()
    copied = () if computed is network else tuple(weight_fingerprints(network).items())
    return description, copied, _device()


def shared_network(recipe: Recipe, until: str) -> keras.Model:
    """The network of a recipe up to a layer, which nobody may change.

    Args:
        recipe: see `rwgen.build_network`.
        until: name of the last layer.

    Raises:
        RwgenError: see `rwgen.build_network`.
    """
    topology = recipe.topology
    parameters = sum(topology.num_parameters(spec.name) for spec in topology.up_to(until))
    if parameters > MAX_PARAMETERS:
        return build_network(recipe, until)
    return _built(recipe.to_json(), until, _device())


@functools.lru_cache(MAX_NETWORKS)
def _built(recipe: str, until: str, _device: str) -> keras.Model:
    return build_network(Recipe.from_json(recipe), until)


def _device() -> str:
    """Where TensorFlow computes at present (`rwgen.use_device`)."""
    device: str = tf.zeros([]).device
    return device
