"""`--view`: what the command says, and what the buttons of its page do."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from rwgen.images import read_metadata

Call = Callable[..., Any]


@pytest.fixture
def arguments(pictures: Any, tmp_path: Path) -> tuple[object, ...]:
    return ("texture", pictures.style, "--size", "20x16", "-o", tmp_path / "out.png", "--view")


def test_the_address_is_printed_and_stop_writes_the_best_image(
    arguments: tuple[object, ...], call: Call, fake_tasks: Any, tmp_path: Path
) -> None:
    seen: list[bytes] = []

    def press(iteration: int) -> None:
        assert isinstance(sys.stderr, io.StringIO)
        text = sys.stderr.getvalue()
        (url,) = re.findall(r"^rwgen: view: (http://127\.0\.0\.1:\d+/\S+/)$", text, re.MULTILINE)
        with urllib3.PoolManager() as pool:
            if iteration == 0:
                seen.append(pool.request("GET", url).data)
            if iteration == 2:
                pool.request("POST", url + "stop")

    fake_tasks.on_step = press
    run = call(*arguments, "--checkpoint", tmp_path / "state", "--iterations", 90)
    assert run.code == 0
    address, outcome = run.err.splitlines()
    assert outcome.startswith(
        "rwgen: stopped after 2 of 90 iterations and 0 s; wrote the best image"
    )
    assert b"<!doctype html>" in seen[0]
    assert "rwgen" in read_metadata(tmp_path / "out.png")
    with urllib3.PoolManager() as pool, pytest.raises(urllib3.exceptions.HTTPError):
        pool.request("GET", address.removeprefix("rwgen: view: "), retries=False)


def test_a_page_nobody_is_told_of_or_that_cannot_be_served_is_refused(
    arguments: tuple[object, ...],
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "--view: expected no --quiet" in refused(*arguments, "--quiet")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "rwgen[serve]"' in refused(*arguments)


def test_an_error_of_the_search_stays_one_line(
    arguments: tuple[object, ...], call: Call, fake_tasks: Any
) -> None:
    fake_tasks.failure = MemoryError()
    run = call(*arguments)
    assert run.code == 1
    assert len(run.err.splitlines()) == 2
