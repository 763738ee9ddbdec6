"""Log a run for TensorBoard."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError, OutputError

if TYPE_CHECKING:
    from rwgen.optimize.solution import Step

IMAGES_PER_RUN = 20
"""Maximum number of images that are logged, not counting the first and the last."""

EventLog = Callable[["Step", Callable[[], NDArray[Any]]], None]
"""Called with a step and a function that returns the best image so far, RGB in 0..255."""


@contextlib.contextmanager
def event_log(
    folder: str | None, max_iterations: int, on_failure: Callable[[OutputError], None]
) -> Iterator[EventLog]:
    """Write steps as TensorFlow summaries, for `tensorboard --logdir`.

    Every step has the scalars `loss`, `gradient_norm`, `evaluations`, `seconds` and one
    `terms/NAME` for each term, at the iteration of the step. Images are named `image`.

    Args:
        folder: folder of the events, or None to log nothing.
        max_iterations: of the run; an image is logged every twentieth of it.
        on_failure: called when an event cannot be written.

    Yields:
        A function to call after each step.

    Raises:
        InvalidInputError: TensorBoard is not installed.
        OutputError: the folder cannot be made.
    """
    if folder is None:
        yield lambda step, best: None
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise InvalidInputError(
            "--logdir: expected TensorBoard to be installed. Received: no such package; "
            'pip install "rwgen[tensorboard]"'
        )
    import tensorflow as tf

    every = max(1, max_iterations // IMAGES_PER_RUN)

    def failure(error: tf.errors.OpError) -> OutputError:
        return OutputError(
            f"--logdir: expected a folder that can be written. Received: {folder!r} "
            f"({error.message})"
        )

    try:
        writer = tf.summary.create_file_writer(folder)
    except tf.errors.OpError as error:
        raise failure(error) from None
    last: list[Callable[[], NDArray[Any]]] = []
    seen = [-1, -1]  # last iteration, last with an image

    def image(iteration: int, best: Callable[[], NDArray[Any]]) -> None:
        pixels = np.rint(best()).clip(0, 255).astype(np.uint8)
        tf.summary.image("image", pixels[np.newaxis], iteration)
        seen[1] = iteration

    def log(step: Step, best: Callable[[], NDArray[Any]]) -> None:
        seen[0] = step.iteration
        last[:] = [best]
        try:
            with writer.as_default(step=step.iteration):
                tf.summary.scalar("loss", step.loss)
                tf.summary.scalar("gradient_norm", step.gradient_norm)
                tf.summary.scalar("evaluations", step.evaluations)
                tf.summary.scalar("seconds", step.seconds)
                for name, value in step.terms.items():
                    tf.summary.scalar(f"terms/{name}", value)
                if step.iteration % every == 0 and step.iteration != seen[1]:
                    image(step.iteration, best)
        except tf.errors.OpError as error:
            on_failure(failure(error))

    yield log
    try:
        if last and seen[0] != seen[1]:
            with writer.as_default():
                image(seen[0], last[0])
        writer.close()
    except tf.errors.OpError as error:
        on_failure(failure(error))
