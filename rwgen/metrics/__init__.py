"""Metrics of how close two images are, independent of the network that made either."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
