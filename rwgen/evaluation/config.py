"""Settings of an evaluation; the command line takes its defaults here."""

from __future__ import annotations

from dataclasses import dataclass

from rwgen.checks import normalize_fields, unexpected
from rwgen.errors import LayerError
from rwgen.metrics.config import HELD_OUT_LAYERS, HELD_OUT_SEEDS
from rwgen.network.architecture import VGG19
from rwgen.seeds import check_seed


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How images are judged.

    Attributes:
        held_out_seeds: seeds of the judging networks' weights, one network each. An image made
            with one of these seeds is judged by the network that made it.
        texture_layers: layers whose Gram matrices are compared for textures.
        style_layers: the same for styles.
        content_layers: layers whose features are compared for content.
        seed: seed of the baselines' random draws.
    """

    held_out_seeds: tuple[int, ...] = HELD_OUT_SEEDS
    texture_layers: tuple[str, ...] = HELD_OUT_LAYERS
    style_layers: tuple[str, ...] = (*HELD_OUT_LAYERS, "conv5_1")
    content_layers: tuple[str, ...] = ("conv2_2",)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        normalize_fields(self, ("texture_layers", "style_layers", "content_layers"))
        if not self.held_out_seeds:
            raise unexpected("held_out_seeds", "at least one seed", self.held_out_seeds)
        for seed in (*self.held_out_seeds, self.seed):
            check_seed(seed)
        for layers in (self.texture_layers, self.style_layers, self.content_layers):
            deepest = VGG19.deepest(layers)
            if deepest.kind == "dense":
                raise LayerError(f"expected conv or pool layers. Received: {deepest.name}")
