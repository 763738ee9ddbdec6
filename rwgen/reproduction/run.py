"""The whole of a reproduction: plan, make what is missing, draw, and tell what it says."""

from __future__ import annotations

import dataclasses
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
from rwgen.reproduction.order import Order, fulfil
from rwgen.reproduction.parts import Part, Stack, part_key, stacks_of
from rwgen.reproduction.pictures import PictureSource
from rwgen.reproduction.scale import FULL, QUICK, Scale
from rwgen.reproduction.setting import Figure, Setting
from rwgen.reproduction.store import MARK, PartResult, Store
from rwgen.version import __version__
from rwgen.workers import Runner

PACKAGES = ("jinja2", "matplotlib", "skimage")
"""What the extra `reproduce` brings."""

_VERSIONS = ("tensorflow", "tensorflow-probability", "keras", "numpy", "scipy", "matplotlib")


@dataclass(frozen=True)
class Advance:
    """How far a run is.

    Attributes:
        done: parts that are there.
        total: parts that are needed.
        seconds_left: estimate, None before the first part.
    """

    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes:
        page: `index.html`.
        figures: numbers of the figures that it shows.
        parts: how many parts were needed.
        made: how many of them this run made.
        seconds: that it took.
        verdicts: of the claims, by figure: the paper's words, the outcome, the numbers.
        full: what the full scale should cost, by the parts that are there.
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
    """Make the paper's figures, or go on with what an interrupted run left.

    Args:
        folder: where everything goes; missing, empty, or a reproduction.
        figures: the paper's numbers, 2 to 10; none means all.
        scale: sizes and counts.
        images: a folder with `photos`, `textures` or `paintings`, in place of scikit-image's.
        trained: trained weights to compare with, as `rwgen.load_recipe` takes them.
        run: how parts are made; `rwgen.workers.process_runner` gives their memory back.
        progress: is told when the work begins and after each part.

    Returns:
        What was made.

    Raises:
        InvalidInputError: an argument is not what it must be, or the folder holds something else.
        OptimizationError: a loss is not finite.
        OutputError: the folder cannot be written.
        RecipeError: the trained weights cannot be had.
    """
    began = time.perf_counter()
    chosen = choose_figures(figures)
    check_packages()
    _check_trained(trained)
    setting = Setting(scale, PictureSource(folder / "inputs", images), trained)
    store = Store(folder)
    parts = plan_parts(setting, chosen)
    missing = [part for part in parts if store.load(part) is None]
    _make(store, parts, missing, run, progress)

    from rwgen.reproduction.publish import publish

    command = reproduce_command(store, setting, figures, os.fspath(images) if images else None)
    # Figures of earlier calls stay; looking for them makes no inputs.
    other = dataclasses.replace(setting, pictures=PictureSource(folder, images, write=False))
    shown = [x for x in FIGURES.values() if x in chosen or _is_made(store, other, x)]
    results = _results(store, plan_parts(setting, shown))
    full = estimate_scale(setting, results, FULL, images)
    facts = {
        "command": command,
        "scale": dataclasses.asdict(scale),
        "images": os.fspath(images) if images else None,
        "trained": trained,
        "rwgen": __version__,
        "surroundings": surroundings(),
        "seconds_of_parts": sum(result.seconds for _, result in results),
        "full_scale_estimate": dataclasses.asdict(full),
    }
    verdicts = publish(store, setting, shown, facts, full)
    store.write_json(MARK, {**facts, "figures": [x.number for x in shown], "verdicts": verdicts})
    return Outcome(
        page=folder / "index.html",
        figures=tuple(figure.number for figure in shown),
        parts=len(parts),
        made=len(missing),
        seconds=time.perf_counter() - began,
        verdicts=verdicts,
        full=full,
    )


def plan_parts(setting: Setting, figures: Iterable[Figure]) -> list[Part]:
    """Every part of figures once, stacks before what is inverted from them."""
    wanted = [part for figure in figures for part in figure.parts(setting).values()]
    late = [part for part in wanted if isinstance(part.network, Stack)]
    early = [part for part in wanted if not isinstance(part.network, Stack)]
    parts: tuple[Part, ...] = (*early, *stacks_of(wanted), *late)
    return list({part_key(part): part for part in parts}.values())


def estimate_scale(
    setting: Setting,
    results: Sequence[tuple[Part, PartResult]],
    scale: Scale,
    images: Path | None = None,
) -> Estimate:
    """What all figures at another scale should cost, by parts that have been made."""
    source = PictureSource(Path("inputs"), images, write=False)
    other = dataclasses.replace(setting, scale=scale, pictures=source)
    return estimate(plan_parts(other, FIGURES.values()), Costs.measured(results))


def check_packages() -> None:
    """Refuse to begin without the packages that draw and show.

    Raises:
        InvalidInputError: one is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInputError(
            f"expected {', '.join(missing)} for a reproduction. Received: no such package; "
            'pip install "rwgen[reproduce]"'
        )


def surroundings() -> dict[str, Any]:
    """Versions and machine that numbers were measured with."""
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
    tell = progress or (lambda advance: None)
    done, total = len(parts) - len(missing), len(parts)
    tell(Advance(done, total, None))
    if not missing:
        return
    began, finished = time.perf_counter(), 0.0
    whole = sum(map(part_work, missing))
    late = [x for x in missing if not isinstance(x, Stack) and isinstance(x.network, Stack)]
    for stage in ([x for x in missing if x not in late], late):
        orders = [Order(store.folder, part) for part in stage]
        for part, _ in zip(stage, run(fulfil, orders), strict=True):
            done, finished = done + 1, finished + part_work(part)
            elapsed = time.perf_counter() - began
            tell(Advance(done, total, elapsed * (whole - finished) / finished))


def _is_made(store: Store, setting: Setting, figure: Figure) -> bool:
    return all(store.load(part) is not None for part in figure.parts(setting).values())


def _results(store: Store, parts: Sequence[Part]) -> list[tuple[Part, PartResult]]:
    found = [(part, store.load(part)) for part in parts]
    return [(part, result) for part, result in found if result is not None]
