"""`--profile`: a table that sums up, and a trace that viewers open."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rwgen.cli import profile
from rwgen.cli.profile import Profile
from rwgen.phases import listening, phase


def test_seconds_of_a_phase_exclude_those_inside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 11.0, 13.0, 16.0, 20.0, 21.0, 24.0, 30.0])
    monkeypatch.setattr(profile.time, "perf_counter", lambda: next(clock))
    found = Profile()
    with listening(found):
        with phase("outer"), phase("inner", "8x6"):  # 1..10, 3..6
            pass
        with phase("outer"):  # 11..14
            pass
    rows = [re.split(r"  +", line.strip()) for line in found.table().splitlines()]
    assert rows == [
        ["outer", "9.00 s", "45%"],  # 9 - 3 + 3
        ["inner", "8x6", "3.00 s", "15%"],
        ["everything else", "8.00 s", "40%"],
        ["total", "20.00 s", "100%"],
    ]
    events = json.loads(found.trace())["traceEvents"]
    assert [(e["name"], e["ts"] / 1e6, e["dur"] / 1e6, e["ph"]) for e in events] == [
        ("outer", 1, 9, "X"),
        ("inner 8x6", 3, 3, "X"),
        ("outer", 11, 3, "X"),
    ]


@pytest.mark.usefixtures("eager")
def test_a_command_writes_a_trace_of_its_sizes_and_prints_a_table(
    call: Callable[..., Any], pictures: Any, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.json"
    options = ("--size", 64, "--octaves", 0, "--iterations", 4, "--source-size", 64, "--margin", 0)
    run = call("texture", pictures.style, *options, "-o", tmp_path / "t.png", "--profile", trace)
    assert run.code == 0
    events = json.loads(trace.read_text())["traceEvents"]
    names = [event["name"] for event in events]
    for name in ("targets", "first evaluation", "first iteration", "iterations"):
        assert f"{name} 64x64" in names
    assert {"read images", "import TensorFlow", "weights", "write image"} <= set(names)
    starts = [event["ts"] for event in events]
    assert starts == sorted(starts)
    wrote, *table = run.err.splitlines()
    assert wrote.startswith("rwgen: wrote ")
    assert table[-1].split()[0] == "total"
    seconds = [float(re.search(r"([\d.]+) s", line)[1]) for line in table]  # type: ignore[index]
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1], abs=0.01 * len(seconds))


def test_a_trace_that_cannot_be_written_is_refused_before_any_work(
    call: Callable[..., Any], pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    output = tmp_path / "t.png"
    run = call("texture", pictures.style, "-o", output, "--profile", tmp_path / "no" / "t.json")
    assert run.code == 2
    assert run.err.startswith("rwgen: --profile: Expected a writable place")
    assert len(run.err.splitlines()) == 1
    assert not output.exists()
