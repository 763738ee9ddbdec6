"""rwgen: image synthesis and feature extraction with a VGG-19 that was never trained.

Importing rwgen imports neither TensorFlow nor Keras: its names are loaded when they are first
used. `SeededNormal` is registered with Keras as soon as both are imported, in either order, so
that `keras.models.load_model` finds it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from rwgen.checkpoint import Checkpoint
    from rwgen.client import FeaturesClient
    from rwgen.client_config import ClientConfig
    from rwgen.config import InversionConfig, OptimizerConfig, StyleConfig, TextureConfig
    from rwgen.device import use_device
    from rwgen.errors import (
        CheckpointError,
        ImageError,
        InvalidInputError,
        LayerError,
        MemoryLimitError,
        OptimizationError,
        OutputError,
        RecipeError,
        RwgenError,
        ServerError,
        WorkerError,
    )
    from rwgen.export import export_network
    from rwgen.export_config import ExportConfig
    from rwgen.features import feature_extractor
    from rwgen.images import read_image, resize_image, write_image
    from rwgen.initializers import SeededNormal
    from rwgen.networks import load_recipe, network_names
    from rwgen.optimize import Minimizer, minimize
    from rwgen.preprocess import deprocess, preprocess_input
    from rwgen.recipe import Recipe, Selection
    from rwgen.rescale import unit_activations
    from rwgen.selection import CandidateScore, select_weights
    from rwgen.solution import Solution, Step, StopReason
    from rwgen.tasks import invert, synthesize_texture, transfer_style
    from rwgen.vgg import RanVGG19, build_network, weight_fingerprints

__version__ = "0.1.0"

_MODULES = {
    "checkpoint": ("Checkpoint",),
    "client": ("FeaturesClient",),
    "client_config": ("ClientConfig",),
    "config": ("InversionConfig", "OptimizerConfig", "StyleConfig", "TextureConfig"),
    "device": ("use_device",),
    "errors": (
        "CheckpointError",
        "ImageError",
        "InvalidInputError",
        "LayerError",
        "MemoryLimitError",
        "OptimizationError",
        "OutputError",
        "RecipeError",
        "RwgenError",
        "ServerError",
        "WorkerError",
    ),
    "export": ("export_network",),
    "export_config": ("ExportConfig",),
    "features": ("feature_extractor",),
    "images": ("read_image", "resize_image", "write_image"),
    "initializers": ("SeededNormal",),
    "networks": ("load_recipe", "network_names"),
    "optimize": ("Minimizer", "minimize"),
    "preprocess": ("deprocess", "preprocess_input"),
    "recipe": ("Recipe", "Selection"),
    "rescale": ("unit_activations",),
    "selection": ("CandidateScore", "select_weights"),
    "solution": ("Solution", "Step", "StopReason"),
    "tasks": ("invert", "synthesize_texture", "transfer_style"),
    "vgg": ("RanVGG19", "build_network", "weight_fingerprints"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [  # noqa: RUF022 - grouped by module; a test compares it with _MODULES
    "Checkpoint",
    "FeaturesClient",
    "ClientConfig",
    "InversionConfig",
    "OptimizerConfig",
    "StyleConfig",
    "TextureConfig",
    "CheckpointError",
    "use_device",
    "ImageError",
    "InvalidInputError",
    "LayerError",
    "MemoryLimitError",
    "OptimizationError",
    "OutputError",
    "RecipeError",
    "RwgenError",
    "ServerError",
    "WorkerError",
    "export_network",
    "ExportConfig",
    "feature_extractor",
    "read_image",
    "resize_image",
    "write_image",
    "SeededNormal",
    "load_recipe",
    "network_names",
    "Minimizer",
    "Solution",
    "Step",
    "StopReason",
    "minimize",
    "deprocess",
    "preprocess_input",
    "Recipe",
    "Selection",
    "unit_activations",
    "CandidateScore",
    "select_weights",
    "invert",
    "synthesize_texture",
    "transfer_style",
    "RanVGG19",
    "build_network",
    "weight_fingerprints",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'rwgen' has no attribute {name!r}")
    return getattr(import_module(f"rwgen.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


wrapt.register_post_import_hook(lambda _: import_module("rwgen.initializers"), "keras")
