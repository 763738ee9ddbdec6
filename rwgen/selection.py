"""Stacked ranVGG: for each layer, select the draw of weights that retains most of an image.

Layers are selected greedily in forward order. With all earlier layers fixed, the reference image is
inverted from the rectified output of each candidate, and the candidate with the smallest loss is
kept (paper, section 2). To make losses comparable, each is divided by the loss of the noise that
its inversion started from: smaller weights, or large biases, scale both alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from rwgen.checks import check_count, unexpected
from rwgen.errors import InvalidInputError
from rwgen.images import ImageLike, as_pixels
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
"""Largest reported PSNR, in decibels. Equal images have an infinite one."""

SCORE_DIGITS = 4
"""Significant digits of a score. Of equal scores the first candidate wins, so rounding differences
between machines rarely change the selection."""


@dataclass(frozen=True)
class CandidateTrial:
    """Input of `judge_candidate`; can be pickled for another process.

    Attributes:
        recipe: Recipe with the candidate of this layer and those chosen for earlier layers.
        layer: Name of the layer.
        candidate: Number of the candidate.
        image: Reference image, [height, width, 3], RGB in 0..255.
        config: Settings of the inversion.
    """

    recipe: Recipe
    layer: str
    candidate: int
    image: NDArray[Any]
    config: InversionConfig


@dataclass(frozen=True)
class CandidateScore:
    """How much of the reference image a candidate retains.

    Attributes:
        layer: Name of the layer.
        candidate: Number of the candidate.
        loss: Final loss of the inversion divided by its initial loss; smaller is better.
        psnr: Peak signal-to-noise ratio of the inverted reference, in decibels, at most
            `MAX_PSNR`.
    """

    layer: str
    candidate: int
    loss: float
    psnr: float


def judge_candidate(trial: CandidateTrial) -> CandidateScore:
    """Invert the reference image from the layer of a candidate.

    Returns:
        The score of the candidate, rounded to `SCORE_DIGITS` significant digits.

    Raises:
        OptimizationError: The loss is not finite.
    """
    network = build_network(trial.recipe, trial.layer)
    # Start from noise at full size, so that its loss is the initial loss.
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
    image: ImageLike,
    *,
    num_candidates: int = 5,
    recipe: Recipe | str | None = None,
    layers: Sequence[str] | None = None,
    config: InversionConfig | None = None,
    run: Runner = map,
    callback: Callable[[CandidateScore], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Recipe:
    """Select the weights of each layer that retain most of a reference image.

    Args:
        image: Reference image, [height, width, 3], RGB in 0..255, or a file name or an image of
            Pillow; 256x256 for dense layers.
        num_candidates: Number of draws per layer, at least 1.
        recipe: Recipe to start from, or its name or path. Layers that are not selected keep the
            candidates of this recipe.
        layers: Names of the convolution or dense layers to select; None means all convolutions.
        config: Settings of the inversion. The network of the settings is ignored.
        run: Function that maps `judge_candidate` over the candidates of a layer. The default
            `map` works sequentially; `rwgen.workers` provides parallel runners with the same
            result.
        callback: Called with every score, including those restored from a checkpoint.
        checkpoint: Where to keep the scores. The same call resumes from them. Call
            `Checkpoint.remove` after saving the recipe.

    Returns:
        The recipe with the chosen candidates, all scores, the fingerprint of the reference image,
        and the fingerprints of the weights up to the deepest selected layer.

    Raises:
        InvalidInputError: An argument is invalid.
        CheckpointError: The checkpoint belongs to another run.
        OutputError: The checkpoint could not be written.
        OptimizationError: The loss is not finite.
    """
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe or HALF_NORMAL_NETWORK)
    if base.weights is not None:
        raise InvalidInputError(
            f"expected a network whose weights are drawn at random. Received: {base.weights!r}"
        )
    config = config or InversionConfig()
    check_count("num_candidates", num_candidates, 1)
    image = as_pixels(image)
    network_input(image)  # raises for an invalid image
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
    report = callback or (lambda score: None)
    scores = _saved_scores(checkpoint)
    # The fingerprints of the base recipe do not apply to the selected weights.
    chosen = dataclasses.replace(base, weights_sha256={}, selection=None)
    for layer in names:
        done = scores.setdefault(layer, [])
        for score in done:
            report(score)
        trials = [
            CandidateTrial(_with_candidate(chosen, layer, number), layer, number, image, config)
            for number in range(len(done), num_candidates)
        ]
        for score in run(judge_candidate, trials):
            done.append(score)
            if checkpoint:
                checkpoint.save(scores=_to_part(scores))
            report(score)
        best = min(done, key=lambda score: (score.loss, score.candidate))
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
        raise unexpected("layers", "a sequence of layer names", layers)
    wanted = {recipe.topology.layer(name).name for name in layers}
    pools = [spec.name for spec in specs if spec.name in wanted and spec.kind == "pool"]
    if pools:
        raise InvalidInputError(
            f"layers: expected layers with weights. Received: {', '.join(pools)}"
        )
    return [spec.name for spec in specs if spec.name in wanted]


def _with_candidate(recipe: Recipe, layer: str, candidate: int) -> Recipe:
    candidates = {**recipe.candidates, layer: candidate}
    kept = {name: number for name, number in candidates.items() if number}
    return dataclasses.replace(recipe, candidates=kept)


def _saved_scores(checkpoint: Checkpoint | None) -> dict[str, list[CandidateScore]]:
    saved: Mapping[str, Any] = (checkpoint.get("scores") if checkpoint else None) or {}
    return {
        layer: [CandidateScore(layer, number, *pair) for number, pair in enumerate(pairs)]
        for layer, pairs in saved.items()
    }


def _to_part(scores: Mapping[str, Sequence[CandidateScore]]) -> dict[str, Any]:
    return {layer: [[x.loss, x.psnr] for x in row] for layer, row in scores.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.{SCORE_DIGITS}g}")
