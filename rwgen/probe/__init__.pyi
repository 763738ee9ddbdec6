"""Types of the lazily loaded public names; `__init__.py` reads them from here."""

from .config import ProbeConfig as ProbeConfig
from .layers import LayerProbe as LayerProbe
from .layers import LayerSummary as LayerSummary
from .layers import probe_layer as probe_layer
from .layers import probed_layers as probed_layers
from .layers import rank_models as rank_models
from .layers import summarize as summarize
from .reinitialize import reinitialize as reinitialize
