"""Writes the folders of figures, and the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rwgen.files import atomic_write
from rwgen.reproduction.commands import part_commands, reproduce_command
from rwgen.reproduction.drawing import draw_figure
from rwgen.reproduction.estimate import Estimate
from rwgen.reproduction.page import FigureOnPage, render_page
from rwgen.reproduction.parts import Part, Stack, stacks_of
from rwgen.reproduction.report import Content, Verdict
from rwgen.reproduction.setting import Figure, Parts, Setting
from rwgen.reproduction.store import PartResult, Store, copy_file


def publish(
    store: Store,
    setting: Setting,
    plans: Mapping[Figure, Parts],
    facts: Mapping[str, Any],
    full: Estimate,
) -> dict[int, list[dict[str, str]]]:
    """Write the folders of figures whose parts are finished, and the page.

    Args:
        store: folder of the reproduction.
        setting: sizes, pictures and networks.
        plans: figures with their parts, in the paper's order.
        facts: content of `reproduction.json`.
        full: estimated cost of the full scale.

    Returns:
        Verdicts by figure.

    Raises:
        OutputError: a file cannot be written.
    """
    shown, verdicts = [], {}
    for figure, parts in plans.items():
        commands = {
            "figure": reproduce_command(store, setting, [figure.number], facts["images"]),
            **part_commands(store, setting, parts),
        }
        stacks = {f"stack-{stack.seed}": stack for stack in stacks_of(parts.values())}
        made: dict[str, tuple[Part, PartResult]] = {
            name: (part, result)
            for name, part in {**stacks, **parts}.items()
            if (result := store.load(part)) is not None
        }
        content = figure.content(setting, {name: made[name][1] for name in parts})
        values = [_verdict_values(verdict) for verdict in content.verdicts]
        _write_figure(store, figure, content, made, commands, values, setting)
        seconds = sum(result.seconds for _, result in made.values())
        shown.append(FigureOnPage(figure.number, figure.title, content, commands, seconds))
        verdicts[figure.number] = values
    atomic_write(store.folder / "index.html", render_page(setting, shown, facts, full).encode())
    return verdicts


def _write_figure(
    store: Store,
    figure: Figure,
    content: Content,
    made: Mapping[str, tuple[Part, PartResult]],
    commands: Mapping[str, str],
    verdicts: Sequence[Mapping[str, str]],
    setting: Setting,
) -> None:
    name = f"figure-{figure.number}"
    folder = store.folder / name
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for tile in (tile for row in content.rows for tile in row.tiles):
        copy_file(tile.file, folder / "images" / f"{tile.name}.png")
    for name_of_part, (part, result) in made.items():
        if not isinstance(part, Stack):
            copy_file(result.image, folder / "images" / f"{name_of_part}.png")
    values = {
        "figure": figure.number,
        "title": figure.title,
        "caption": content.caption,
        "scale": dataclasses.asdict(setting.scale),
        "commands": dict(commands),
        "verdicts": verdicts,
        "numbers": dict(content.numbers),
        "tables": [dataclasses.asdict(table) for table in content.tables],
        "remarks": list(content.remarks),
        "parts": {
            key: {
                "key": result.key,
                "kind": part.kind,
                "settings": part.identity,
                "numbers": result.numbers,
                "history": result.history,
                "seconds": result.seconds,
                "seconds_per_evaluation": result.seconds_per_evaluation,
            }
            for key, (part, result) in made.items()
        },
    }
    store.write_json(f"{name}/{name}.json", values)
    script = "#!/bin/sh\n" + "\n".join(commands.values()) + "\n"
    atomic_write(folder / "commands.sh", script.encode())
    atomic_write(
        folder / f"{name}.png", draw_figure(f"Figure {figure.number}: {figure.title}", content)
    )


def _verdict_values(verdict: Verdict) -> dict[str, str]:
    return {
        "paper": verdict.claim.paper,
        "reading": verdict.claim.reading,
        "outcome": verdict.outcome,
        "measured": verdict.measured,
    }
