"""The stacked ranVGG: of several draws of each layer, the one that keeps most of an image.

Layer by layer, in forward order: candidates are drawn, everything before them is fixed, the
reference image is inverted from the rectified layer, and the candidate with the smallest loss stays
(paper, section 2). Losses are made comparable by dividing each by the loss of the noise that the
search began with: weights of half the size, or biases that drown the image, change both alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.metrics import psnr
from rwgen.network.lookup import load_recipe
from rwgen.network.preprocess import network_input
from rwgen.network.recipe import HALF_NORMAL_NETWORK, Recipe, Selection
from rwgen.network.vgg import build_network, weight_fingerprints
from rwgen.optimize.checkpoint import Checkpoint, fingerprint
from rwgen.synthesis.config import InversionConfig
from rwgen.synthesis.tasks import invert
from rwgen.workers import Runner

MAX_PSNR = 200.0
"""Stands for equal images, which have no finite ratio."""

SCORE_DIGITS = 4
"""Significant digits of a score; where they agree, the first candidate stays. Rounding that differs
between machines then seldom decides."""


@dataclass(frozen=True)
class CandidateTrial:
    """One candidate to be judged; everything that another process needs for it.

    Attributes:
        recipe: with the candidate of this layer and of those before it.
        layer: the layer that the candidate belongs to.
        candidate: its number.
        image: the reference, [height, width, 3], RGB in 0..255.
        config: how it is inverted.
    """

    recipe: Recipe
    layer: str
    candidate: int
    image: NDArray[Any]
    config: InversionConfig


@dataclass(frozen=True)
class CandidateScore:
    """How much of the reference a candidate keeps.

    Attributes:
        layer: the layer.
        candidate: its number.
        loss: loss at the end of the inversion divided by the loss at its start; smaller is better.
        psnr: of the inverted reference, in decibels, at most `MAX_PSNR`.
    """

    layer: str
    candidate: int
    loss: float
    psnr: float


def judge_candidate(trial: CandidateTrial) -> CandidateScore:
    """Invert the reference from a candidate.

    Returns:
        Its score, with `SCORE_DIGITS` digits.

    Raises:
        OptimizationError: the loss is not finite.
    """
    network = build_network(trial.recipe, trial.layer)
    # From noise at the full size: its loss is what the loss at the end is compared with.
    config = dataclasses.replace(trial.config, octaves=0)
    solution = invert(trial.image, trial.layer, network=network, config=config)
    start = solution.initial_loss
    quality = psnr(trial.image, solution.image.clip(0, 255))
    return CandidateScore(
        layer=trial.layer,
        candidate=trial.candidate,
        loss=_rounded(solution.loss / start if start else 0.0),
        psnr=_rounded(MAX_PSNR if quality is None else min(quality, MAX_PSNR)),
    )


def select_weights(
    image: NDArray[Any],
    *,
    num_candidates: int = 5,
    recipe: Recipe | str | None = None,
    layers: Sequence[str] | None = None,
    config: InversionConfig | None = None,
    run: Runner = map,
    callback: Callable[[CandidateScore], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Recipe:
    """Choose the candidate of each layer that keeps most of a reference image.

    Args:
        image: the reference, [height, width, 3], RGB in 0..255; 256x256 for dense layers.
        num_candidates: draws of each layer, from 1.
        recipe: what is chosen for: standard deviations, pooling, seed; a recipe or the name or path
            of one. Candidates that it has chosen stay for layers that are not selected.
        layers: names of convolution or dense layers to select; None means all convolutions.
        config: how the reference is inverted; its network is not used.
        run: how the candidates of one layer are judged; `map` does so one after the other.
            `rwgen.workers` has others, with the same result.
        callback: is called with every score, those of a checkpoint too.
        checkpoint: where scores are kept; the same call goes on from there. `Checkpoint.remove` it
            once the recipe is safe.

    Returns:
        The recipe with the chosen candidates, all scores, the reference's fingerprint and the
        fingerprints of the weights up to the deepest layer that was selected.

    Raises:
        InvalidInputError: an image or a setting is not what it must be.
        CheckpointError: the checkpoint is another run's.
        OutputError: the checkpoint could not be written.
        OptimizationError: the loss is not finite.
    """
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe or HALF_NORMAL_NETWORK)
    if base.weights is not None:
        raise InvalidInputError(
            f"expected a network whose weights are drawn. Received: {base.weights!r}"
        )
    config = config or InversionConfig()
    if (
        isinstance(num_candidates, bool)
        or not isinstance(num_candidates, int)
        or num_candidates < 1
    ):
        raise InvalidInputError(
            f"expected a number of candidates from 1. Received: {num_candidates!r}"
        )
    network_input(image)  # checked before any work
    names = _in_forward_order(base, layers)
    base.topology.check_image_size(names, image.shape, "a reference image")
    if checkpoint:
        checkpoint.expect(
            task="select",
            recipe=base.to_dict(),
            layers=names,
            num_candidates=num_candidates,
            settings=dataclasses.asdict(config),
            images=[fingerprint(image)],
        )
    known = _known_scores(checkpoint)
    # Fingerprints belong to the weights before the choice.
    chosen = dataclasses.replace(base, weights_sha256={}, selection=None)
    scores: dict[str, list[CandidateScore]] = {}
    for layer in names:
        found = {number: score for number, score in enumerate(known.get(layer, ()))}
        trials = [
            CandidateTrial(_with_candidate(chosen, layer, number), layer, number, image, config)
            for number in range(num_candidates)
            if number not in found
        ]
        for score in found.values():
            if callback:
                callback(score)
        for score in run(judge_candidate, trials):
            found[score.candidate] = score
            known[layer] = [found[number] for number in sorted(found)]
            if checkpoint:
                checkpoint.save(scores=_to_part(known))
            if callback:
                callback(score)
        scores[layer] = known[layer]
        best = min(scores[layer], key=lambda score: (score.loss, score.candidate))
        chosen = _with_candidate(chosen, layer, best.candidate)
    selection = Selection(
        reference_sha256=str(fingerprint(image)),
        reference_size=(image.shape[0], image.shape[1]),
        iterations=config.optimizer.max_iterations,
        noise_seed=config.seed,
        losses={name: tuple(score.loss for score in scores[name]) for name in names},
        psnrs={name: tuple(score.psnr for score in scores[name]) for name in names},
    )
    network = build_network(chosen, names[-1])
    return dataclasses.replace(
        chosen, selection=selection, weights_sha256=weight_fingerprints(network)
    )


def _in_forward_order(recipe: Recipe, layers: Sequence[str] | None) -> list[str]:
    specs = recipe.topology.layers()
    if layers is None:
        return [spec.name for spec in specs if spec.kind == "conv"]
    if isinstance(layers, str) or not layers:
        raise InvalidInputError(f"layers: expected names of layers. Received: {layers!r}")
    wanted = {recipe.topology.layer(name).name for name in layers}
    pools = [spec.name for spec in specs if spec.name in wanted and spec.kind == "pool"]
    if pools:
        raise InvalidInputError(
            f"layers: expected layers that have weights. Received: {', '.join(pools)}"
        )
    return [spec.name for spec in specs if spec.name in wanted]


def _with_candidate(recipe: Recipe, layer: str, candidate: int) -> Recipe:
    candidates = {**recipe.candidates, layer: candidate}
    kept = {name: number for name, number in candidates.items() if number}
    return dataclasses.replace(recipe, candidates=kept)


def _known_scores(checkpoint: Checkpoint | None) -> dict[str, list[CandidateScore]]:
    saved: Mapping[str, Any] = (checkpoint.get("scores") if checkpoint else None) or {}
    return {
        layer: [CandidateScore(layer, number, *pair) for number, pair in enumerate(pairs)]
        for layer, pairs in saved.items()
    }


def _to_part(scores: Mapping[str, Sequence[CandidateScore]]) -> dict[str, Any]:
    return {layer: [[x.loss, x.psnr] for x in row] for layer, row in scores.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.{SCORE_DIGITS}g}")
