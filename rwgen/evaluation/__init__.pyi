"""Types of the lazily loaded public names; `__init__.py` reads them from here."""

from .config import EvaluationConfig as EvaluationConfig
from .table import Row as Row
from .table import StyleScores as StyleScores
from .table import TextureScores as TextureScores
from .table import evaluate_style as evaluate_style
from .table import evaluate_texture as evaluate_texture
