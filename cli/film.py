"""`rwgen style` on an animation or a video: every frame is painted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rwgen.animation import check_animation, write_animation
from rwgen.cli import resources
from rwgen.cli.existing import check_new
from rwgen.cli.exit_codes import EXIT_SIGNALED
from rwgen.cli.options import RunOptions
from rwgen.cli.session import interruptible
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.errors import InvalidInputError
from rwgen.frames import Film, is_film, is_video
from rwgen.images import resize_image
from rwgen.network.recipe import Recipe
from rwgen.progress import progress
from rwgen.synthesis.config import StyleConfig

if TYPE_CHECKING:
    from rwgen.film import FilmFrame, Flicker
    from rwgen.optimize.solution import Step

SUFFIXES = (".gif", ".mp4", ".webp")

NO_FILM = ("save_every", "animate", "history", "logdir", "view", "checkpoint")
"""Options of a single search."""


def makes_film(content: str, output: str | None) -> bool:
    """Whether a command paints every frame: of a film, unless a single image is asked for.

    Args:
        content: the content image.
        output: the file to write, or None if none was given.
    """
    wanted = output is None or Path(output).suffix.lower() in SUFFIXES
    return wanted and content != "-" and is_film(content)


def film_name(name: str, content: str) -> str:
    """The file that is written if none is given: of the kind of the content.

    Args:
        name: without a suffix.
        content: the film.
    """
    return f"{name}.mp4" if is_video(content) else f"{name}.webp"


def check_film(output: str, content: str, options: RunOptions) -> None:
    """Refuse what cannot be done, before any work.

    Raises:
        InvalidInputError: the file cannot be written or exists, or an option is that of an image.
    """
    check_animation(output)
    plain = RunOptions()
    for name in NO_FILM:
        if getattr(options, name) != getattr(plain, name):
            option = f"--{name.replace('_', '-')}"
            raise InvalidInputError(
                f"{option}: expected a single image. Received: a film, {content}"
            )
    if Path(output).resolve() == Path(content).resolve():
        raise InvalidInputError(
            f"expected output files that are not inputs. Received: {content} as both"
        )
    check_new("--output", output, options.force)


def paint(
    film: Film,
    styles: Sequence[NDArray[Any]],
    output: str,
    size: tuple[int, int],
    recipe: Recipe,
    layers: Sequence[str],
    config: StyleConfig,
    options: RunOptions,
) -> int:
    """Paint every frame, and write the film.

    Args:
        film: what is painted.
        styles: style images, at the size at which they are used.
        output: the file to write.
        size: (height, width) of the result.
        recipe: the network's.
        layers: every layer that is read.
        config: settings of the search.
        options: where it runs.

    Returns:
        The exit code: 0, or 128 and the number of the signal that ended the film early.

    Raises:
        RwgenError: the film cannot be read, painted or written.
    """
    began = time.monotonic()
    limit = resources.memory_limit(options.memory_limit, options.device)
    with native_stderr_hidden():
        from rwgen.film import FilmConfig, Flicker, stylize_film
        from rwgen.network.vgg import build_network

        with resources.on_device(options.device):
            network = build_network(recipe, recipe.topology.deepest(layers).name)
    first = config.optimizer.max_iterations
    total = first + (film.count - 1) * FilmConfig().later_iterations(first)
    found, count, done = Flicker(), 0, 0
    last: FilmFrame | None = None
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(interruptible())
        show = stack.enter_context(progress(total, options.quiet))
        stack.enter_context(resources.on_device(options.device))

        def callback(step: Step, best: Callable[[], NDArray[Any]]) -> bool:
            seconds = time.monotonic() - began
            show(dataclasses.replace(step, iteration=done + step.iteration, seconds=seconds))
            return bool(signals)

        def painted() -> Iterator[NDArray[Any]]:
            nonlocal count, done, last
            for frame in stylize_film(
                (resize_image(frame, *size) for frame in film),
                styles,
                network=network,
                config=config,
                callback=callback,
                memory_limit=limit,
            ):
                if last is not None:
                    if signals:
                        return  # a frame that is half painted would be seen
                    found.add(last, frame)
                last, count, done = frame, count + 1, done + frame.solution.iterations
                yield frame.image

        write_animation(output, painted(), frames_per_second=film.frames_per_second)
    assert last is not None  # or there was nothing to write
    height, width = last.image.shape[:2]
    seconds = time.monotonic() - began
    if not options.quiet:
        what = f"{count} frames of {width}x{height} pixels in {seconds:.0f} s"
        early = f"interrupted after {count} of {film.count} frames; " if signals else ""
        say(f"{early}wrote {output}, {what}{_in_words(found)}")
    if options.json:
        values = {
            "output": output,
            "width": width,
            "height": height,
            "frames": count,
            "iterations": done,
            "seconds": round(seconds, 3),
            "flicker": round(found.result, 3),
            "flicker_of_content": round(found.source, 3),
            "seed": config.seed,
            "network": recipe.name,
        }
        print(json.dumps(values))
    return EXIT_SIGNALED + signals[0] if signals else 0


def _in_words(found: Flicker) -> str:
    if not found.pairs:
        return ""
    return f"; flicker {found.result:.1f} levels, {found.source:.1f} of the film itself"
