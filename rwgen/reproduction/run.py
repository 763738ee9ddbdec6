"""Runs a reproduction: plans its parts, makes the missing ones, and publishes the figures."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwgen.errors import InvalidInputError
from rwgen.network.lookup import load_recipe
from rwgen.reproduction.commands import reproduce_command
from rwgen.reproduction.estimate import Costs, Estimate, estimate, part_work
from rwgen.reproduction.figures.index import FIGURES, choose_figures
from rwgen.reproduction.parts import ImagePart, Part, Stack, part_key, stacks_of
from rwgen.reproduction.pictures import PictureSource
from rwgen.reproduction.scale import FULL, QUICK, Scale
from rwgen.reproduction.setting import Parts, Setting
from rwgen.reproduction.store import MARK, Store
from rwgen.version import __version__
from rwgen.workers import Runner

PACKAGES = ("jinja2", "matplotlib", "skimage")
"""Packages of the extra `reproduce`."""

_VERSIONS = ("tensorflow", "tensorflow-probability", "keras", "numpy", "scipy", "matplotlib")


@dataclass(frozen=True)
class Advance:
    """Progress of a run.

    Attributes:
        done: number of finished parts.
        total: number of parts needed.
        seconds_left: estimated remaining seconds, or None before the first part.
    """

    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Outcome:
    """Result of a run.

    Attributes:
        page: path of `index.html`.
        figures: numbers of the figures on the page.
        parts: number of parts needed.
        made: number of parts that this run made.
        seconds: duration of the run.
        verdicts: verdicts by figure: the paper's words, the outcome and the measured numbers.
        full: estimated cost of the full scale.
    """

    page: Path
    figures: tuple[int, ...]
    parts: int
    made: int
    seconds: float
    verdicts: dict[int, list[dict[str, str]]]
    full: Estimate


def reproduce(
    folder: Path,
    figures: Sequence[int] = (),
    *,
    scale: Scale = QUICK,
    images: Path | None = None,
    trained: str | None = None,
    run: Runner = map,
    progress: Callable[[Advance], None] | None = None,
) -> Outcome:
    """Make figures of the paper, or resume an interrupted run.

    Args:
        folder: output folder: missing, empty, or one of an earlier call.
        figures: numbers of the figures, 2 to 10; empty for all.
        scale: sizes and counts.
        images: folder with `photos`, `textures` or `paintings` that replace scikit-image's, or
            None.
        trained: trained weights to compare with, as `rwgen.load_recipe` takes them, or None.
        run: runs the parts; `rwgen.workers.process_runner` frees the memory that they took.
        progress: called at the start and after each part.

    Returns:
        The outcome.

    Raises:
        InvalidInputError: an argument is invalid, or the folder holds other files.
        OptimizationError: a loss is not finite.
        OutputError: the folder cannot be written.
        RecipeError: the trained weights cannot be loaded.
    """
    began = time.perf_counter()
    chosen = choose_figures(figures)
    check_packages()
    _check_trained(trained)
    setting = Setting(scale, PictureSource(folder / "inputs", images), trained)
    store = Store(folder)
    plans = {figure: figure.parts(setting) for figure in FIGURES.values()}
    parts = in_order(plans[figure] for figure in chosen)
    setting.pictures.write(picture for part in parts for picture in part.pictures)
    missing = [part for part in parts if store.load(part) is None]
    _make(store, parts, missing, run, progress)

    from rwgen.reproduction.publish import publish

    shown = {  # figures of earlier calls stay on the page
        figure: plan
        for figure, plan in plans.items()
        if figure in chosen or all(store.load(part) is not None for part in plan.values())
    }
    used = in_order(shown.values())
    setting.pictures.write(picture for part in used for picture in part.pictures)
    results = [(part, result) for part in used if (result := store.load(part)) is not None]
    full = estimate(full_scale_parts(setting), Costs.measured(results))
    given = os.fspath(images) if images else None
    facts = {
        "command": reproduce_command(store, setting, figures, given),
        "scale": dataclasses.asdict(scale),
        "images": given,
        "trained": trained,
        "rwgen": __version__,
        "surroundings": surroundings(),
        "seconds_of_parts": sum(result.seconds for _, result in results),
        "full_scale_estimate": dataclasses.asdict(full),
    }
    verdicts = publish(store, setting, shown, facts, full)
    numbers = tuple(figure.number for figure in shown)
    store.write_json(MARK, {**facts, "figures": numbers, "verdicts": verdicts})
    return Outcome(
        page=folder / "index.html",
        figures=numbers,
        parts=len(parts),
        made=len(missing),
        seconds=time.perf_counter() - began,
        verdicts=verdicts,
        full=full,
    )


def in_order(plans: Iterable[Parts]) -> list[Part]:
    """Return the parts of several figures, each once, stacks before what is inverted from them."""
    wanted = [part for plan in plans for part in plan.values()]
    late = [part for part in wanted if _needs_stack(part)]
    early = [part for part in wanted if not _needs_stack(part)]
    parts: tuple[Part, ...] = (*early, *stacks_of(wanted), *late)
    return list({part_key(part): part for part in parts}.values())


def full_scale_parts(setting: Setting) -> list[Part]:
    """Return the parts of all figures at the full scale."""
    full = dataclasses.replace(setting, scale=FULL)
    return in_order(figure.parts(full) for figure in FIGURES.values())


def check_packages() -> None:
    """Check that the packages for charts and pages are installed.

    Raises:
        InvalidInputError: a package is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInputError(
            f"expected {', '.join(missing)} for a reproduction. Received: no such package; "
            'pip install "rwgen[reproduce]"'
        )


def surroundings() -> dict[str, Any]:
    """Return the package versions and the machine of a measurement."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _VERSIONS},
        "system": platform.platform(),
        "cores": os.cpu_count(),
    }


def _check_trained(trained: str | None) -> None:
    if trained is not None and load_recipe(trained).weights is None:
        raise InvalidInputError(
            f"--trained: expected imagenet or a file with trained weights. Received: {trained!r}, "
            "whose weights are drawn"
        )


def _make(
    store: Store,
    parts: Sequence[Part],
    missing: Sequence[Part],
    run: Runner,
    progress: Callable[[Advance], None] | None,
) -> None:
    report = progress or (lambda advance: None)
    done, total = len(parts) - len(missing), len(parts)
    report(Advance(done, total, None))
    began, finished = time.perf_counter(), 0.0
    work = sum(map(part_work, missing))
    for stage in (
        [part for part in missing if not _needs_stack(part)],
        [part for part in missing if _needs_stack(part)],
    ):
        made = run(functools.partial(_make_part, store.folder), stage)
        for part, _ in zip(stage, made, strict=True):
            done, finished = done + 1, finished + part_work(part)
            elapsed = time.perf_counter() - began
            report(Advance(done, total, elapsed * (work - finished) / finished))


def _make_part(folder: Path, part: Part) -> None:
    """Make a part; the process that this runs in is the only one that imports TensorFlow."""
    from rwgen.reproduction.make import make_part

    make_part(part, Store(folder))


def _needs_stack(part: Part) -> bool:
    return isinstance(part, ImagePart) and isinstance(part.network, Stack)
