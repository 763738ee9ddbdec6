"""Types of the lazily loaded public names; `__init__.py` reads them from here."""

from .config import ProbeConfig as ProbeConfig
from .layers import probe_layer as probe_layer
from .layers import probe_layers as probe_layers
from .layers import probed_layers as probed_layers
from .random_weights import reinitialize as reinitialize
from .record import ProbeRecord as ProbeRecord
from .record import open_record as open_record
from .run import probe_architectures as probe_architectures
from .summary import LayerProbe as LayerProbe
from .summary import LayerSummary as LayerSummary
from .summary import rank_models as rank_models
from .summary import summarize as summarize
