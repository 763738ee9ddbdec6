"""Coarse to fine: solve a task on smaller images first; each result is the start of the next.

Gram matrices capture structure up to the size of a receptive field. In an image of a quarter of the
size, the same field covers four times as much of the scene, so long structure is settled there and
kept (docs/math.md, "Coarse to fine").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.images import resize_image
from rwgen.optimize.checkpoint import Checkpoint
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.solution import Solution, Step, StepCallback, StopReason

SMALLEST_SIDE = 32
"""Shortest side, in pixels, that images are halved to; smaller ones hold little of a scene."""

AUTOMATIC_SIDE = 80
"""The same for inversions, and styles that start from noise, if the number of octaves is not given.
"""

AUTOMATIC_SIDE_OF_IMAGE = 160
"""The same if any search starts from an image: a smaller one would lose what it shows."""

AUTOMATIC_SIDE_OF_TEXTURE = 64
"""The same for textures: on smaller images the Gram matrices hold more numbers than the image, and
a texture copies its source (docs/math.md)."""

FULL_SHARE_SIDE = 512
"""Side of the largest square, without margins, whose share of the iterations is that of the coarser
sizes, for styles and textures. What is settled there needs few more at larger sizes
(docs/performance.md)."""

SMALLEST_GRAM_SIDE = 32
"""Shortest side of feature maps whose Gram matrices are matched at the coarser sizes, for the same
reason."""

Solver = Callable[[tuple[int, int], NDArray[Any] | None, OptimizerConfig, StepCallback], Solution]
"""Solves the task at (height, width), from a start in pixels (None for its own), with settings of
L-BFGS and a callback."""


def image_sizes(
    size: tuple[int, int],
    octaves: int | None,
    shortest_side: int,
    automatic_side: int = AUTOMATIC_SIDE,
    *,
    multiple: int = 1,
) -> tuple[tuple[int, int], ...]:
    """Sizes of the result from coarse to fine.

    Args:
        size: (height, width) of the finest size.
        octaves: maximum number of times it is halved; None means as often as `automatic_side`
            allows.
        shortest_side: shortest side of all images of the task; it is not halved below
            `SMALLEST_SIDE`.
        automatic_side: shortest side that it is halved to if `octaves` is None.
        multiple: number that all sides are multiples of, those of `size` included.

    Returns:
        (height, width) of each size; the last is `size`.
    """
    smallest = automatic_side if octaves is None else SMALLEST_SIDE
    possible = max(0, int(math.log2(shortest_side / smallest)))
    sizes = [size]
    for octave in range(1, min(possible, possible if octaves is None else octaves) + 1):
        height, width = (max(1, round(side / 2**octave / multiple)) * multiple for side in size)
        sizes.insert(0, (height, width))
    return tuple(sizes)


def iteration_shares(
    sizes: Sequence[tuple[int, int]], full_share_side: int | None
) -> tuple[float, ...]:
    """Relative number of iterations at each size.

    Args:
        sizes: (height, width) of each.
        full_share_side: a size of more pixels than a square of this side gets fewer iterations
            the longer its sides are; None gives all sizes the same.
    """
    if full_share_side is None:
        return (1.0,) * len(sizes)
    return tuple(min(1.0, full_share_side / math.sqrt(math.prod(size))) for size in sizes)


def solve_coarse_to_fine(
    solve: Solver,
    sizes: Sequence[tuple[int, int]],
    init: NDArray[Any] | None,
    config: OptimizerConfig,
    callback: StepCallback | None,
    checkpoint: Checkpoint | None = None,
    *,
    full_share_side: int | None = None,
    tileable: bool = False,
) -> Solution:
    """Solve at every size, each starting from the previous result.

    Sizes share the iterations; those that an early stop leaves over go to the finer sizes.
    Iterations, evaluations, restarts and seconds of the solution are totals over all sizes;
    the initial loss is that of the start at the first size, and the others are those of the last.

    Args:
        solve: see `Solver`.
        sizes: (height, width) from coarse to fine; the last is the result's.
        init: start in pixels, resized to the coarsest size; None means the solver's own.
        config: settings of L-BFGS; its iterations are shared.
        callback: receives images of the result's size at every size.
        checkpoint: where to store the results of the coarser sizes, as its part `sizes`; sizes
            that it holds are not solved again. The solver stores the search at one size.
        full_share_side: see `iteration_shares`.
        tileable: whether images are resized as tiles, see `rwgen.resize_image`.

    Returns:
        The solution at the last size, or the enlarged one of the size that the callback ended.
    """

    def resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        same = image.shape[:2] == size
        return image if same else resize_image(image, *size, tileable=tileable)

    size, shares = sizes[-1], iteration_shares(sizes, full_share_side)
    history: list[Step] = []
    image, restarts, done = init, 0, 0
    saved = checkpoint.get("sizes") if checkpoint else None
    if saved:
        image, restarts, done = saved["image"], saved["restarts"], saved["done"]
        history = [Step(**step) for step in saved["history"]]
    for number, current in enumerate(sizes[done:], start=done + 1):
        before = history[-1] if history else None
        used = before.iteration if before else 0
        # What remains, shared by the sizes that remain.
        share = shares[number - 1] / math.fsum(shares[number - 1 :])
        iterations = math.floor((config.max_iterations - used) * share)

        def total(step: Step, before: Step | None = before) -> Step:
            return _after(before, step)

        def report(
            step: Step, best: Callable[[], NDArray[Any]], total: Callable[[Step], Step] = total
        ) -> bool | None:
            return callback(total(step), lambda: resized(best(), size)) if callback else None

        start = None
        if image is not None:
            start = resize_image(np.clip(image, 0, 255), *current, tileable=tileable)
        solution = solve(current, start, replace(config, max_iterations=iterations), report)
        image = solution.image
        restarts += solution.restarts
        history += [total(step) for step in solution.history]
        if solution.stop_reason is StopReason.CALLBACK:
            break
        if checkpoint and number < len(sizes):
            steps = [asdict(step) for step in history]
            sizes_done = {"done": number, "image": image, "restarts": restarts, "history": steps}
            checkpoint.save(sizes=sizes_done, search=None)
    return replace(
        solution,
        image=resized(solution.image, size),
        initial_loss=history[0].loss,
        history=tuple(history),
        iterations=history[-1].iteration,
        evaluations=history[-1].evaluations,
        restarts=restarts,
        seconds=history[-1].seconds,
    )


def _after(before: Step | None, step: Step) -> Step:
    """A step with the totals of the coarser sizes added."""
    if before is None:
        return step
    return replace(
        step,
        iteration=before.iteration + step.iteration,
        evaluations=before.evaluations + step.evaluations,
        seconds=before.seconds + step.seconds,
    )
