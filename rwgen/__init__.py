"""rwgen: image synthesis and feature extraction with a VGG-19 that was never trained.

Importing rwgen imports neither TensorFlow nor Keras: the public names, listed in `__init__.pyi`,
are loaded on first use. `SeededNormal` and `SymmetricConv2D` are registered with Keras as soon as
both packages are imported, in either order, so that `keras.models.load_model` finds them.
"""

from importlib import import_module

import lazy_loader
import wrapt

from rwgen.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

wrapt.register_post_import_hook(lambda _: import_module("rwgen.network.initializers"), "keras")
wrapt.register_post_import_hook(lambda _: import_module("rwgen.network.convolution"), "keras")
