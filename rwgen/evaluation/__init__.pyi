"""Types of the lazily loaded public names; `__init__.py` reads them from here."""

from .config import EvaluationConfig as EvaluationConfig
from .scale import scale_styles as scale_styles
from .scale import scale_textures as scale_textures
from .table import Row as Row
from .table import StyleScores as StyleScores
from .table import TextureScores as TextureScores
from .table import evaluate_style as evaluate_style
from .table import evaluate_texture as evaluate_texture
