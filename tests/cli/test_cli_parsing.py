"""Texts of options: whatever is given, a value or one clear refusal."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rwgen.cli.options import MAX_SIDE, parse_bytes, parse_numbers, parse_size
from rwgen.errors import InvalidInputError

SIDES = st.integers(1, MAX_SIDE)
JUNK = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(SIDES, SIDES, st.sampled_from("xX"))
def test_a_size_is_width_times_height(width: int, height: int, times: str) -> None:
    assert parse_size(f"{width}{times}{height}") == (height, width)


@given(SIDES)
def test_one_number_is_a_square(side: int) -> None:
    assert parse_size(str(side)) == (side, side)


@given(JUNK | st.text("0123456789xX+-. ", max_size=9))
@example("0x5")
@example("16385x1")
@example("256x256\n")
@example("2 56")
@example("+5")
@example("٣x٣")
@example("10**99")
@example("5x")
@example("")
def test_any_other_size_is_refused_by_name(text: str) -> None:
    sides = text.replace("X", "x").split("x")
    valid = len(sides) <= 2 and all(
        side.isascii() and side.isdecimal() and len(side) <= 6 and 1 <= int(side) <= MAX_SIDE
        for side in sides
    )
    if valid:
        assert parse_size(text) == (int(sides[-1]), int(sides[0]))
    else:
        with pytest.raises(InvalidInputError, match=r"^--size: .*Received: "):
            parse_size(text)


@given(st.lists(st.floats(), min_size=1, max_size=5))
def test_numbers_come_back_as_they_were_printed(numbers: list[float]) -> None:
    parsed = parse_numbers("--style-blend", ",".join(map(repr, numbers)))
    assert [repr(number) for number in parsed] == [repr(number) for number in numbers]


def test_no_text_is_no_numbers() -> None:
    assert parse_numbers("--style-blend", "") == ()


@given(JUNK | st.text("0123456789,.e- ", max_size=9))
@example(",")
@example("1,")
@example("1;2")
@example("one")
@example("0x10")
def test_other_lists_of_numbers_are_refused_by_name(text: str) -> None:
    try:
        numbers = parse_numbers("--style-blend", text)
    except InvalidInputError as error:
        message = str(error)
        assert message.startswith("--style-blend: ")
        assert repr(text) in message
    else:
        assert len(numbers) == (text.count(",") + 1 if text else 0)
        assert all(isinstance(number, float) for number in numbers)


@pytest.mark.parametrize("text", ["1,,2", "1,2,", "a", "1 2", "1;2", "--"])
def test_a_list_with_a_hole_or_a_word_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="expected comma-separated numbers"):
        parse_numbers("--style-blend", text)


def test_numbers_out_of_range_are_left_to_the_configuration() -> None:
    not_a_number, infinite, negative = parse_numbers("--style-blend", "nan,inf,-1")
    assert math.isnan(not_a_number)
    assert (infinite, negative) == (math.inf, -1.0)


WORDS = st.sampled_from(
    ["style", "texture", "invert", "layers", "-o", "out.png", "--size", "32", "8x8", "--layer",
     "conv1_1", "fc6", "--iterations", "-1", "1e9", "nan", "--content-weight", "--style-blend",
     "1,2", "--init", "noise", "--network", "ranvgg19", "none.json", "--from", "--save-every",
     "--history", "h.csv", "--quiet", "--octaves", "--weighting", "signed", "-", "--", "-q",
     "--seed", "--style-layer", "missing.png", "", "-o-", "--size=0", ".", "..", "/", "-x"]
)  # fmt: skip


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    command=st.sampled_from(["style", "texture", "invert", "layers", ""]),
    rest=st.lists(WORDS | JUNK, max_size=7),
)
@example(command="style", rest=["a\nb", "c\u2028d", "-o", "out.png"])
@example(
    command="style", rest=["missing.png", "missing.png", "-o", "out.png", "--history", "x" * 300]
)
@example(command="layers", rest=["--size", "[/bold]"])
def test_whatever_is_typed_a_refusal_is_one_line(
    command: str,
    rest: list[str],
    call: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No picture can be read here, so that only listings and helps succeed.
    monkeypatch.chdir(tmp_path)
    run = call(*([command] if command else []), *rest)
    assert list(tmp_path.iterdir()) == []
    if run.code == 0:
        assert run.err == ""
        assert run.out
    else:
        assert run.code == 2
        assert run.out == b""
        assert run.err.startswith("rwgen: ")
        assert run.err.splitlines(keepends=True) == [run.err]


UNITS = {"B": 1, "kB": 1000, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}  # fmt: skip


@given(st.integers(1, 10**9), st.sampled_from(sorted(UNITS)), st.booleans(), st.booleans())
def test_memory_is_a_number_and_a_unit(number: int, unit: str, lower: bool, space: bool) -> None:
    text = f"{number}{' ' * space}{unit.lower() if lower else unit}"
    assert parse_bytes("--memory-limit", text) == number * UNITS[unit]


@pytest.mark.parametrize(("text", "count"), [("1.5GiB", 3 * 2**29), ("0.1KB", 100), ("2.7B", 2)])
def test_memory_may_have_decimals(text: str, count: int) -> None:
    assert parse_bytes("--memory-limit", text) == count


@given(JUNK)
@example("")
@example("12")
@example("GiB")
@example("-1GB")
@example("0GB")
@example("0.1B")
@example("1e9B")
@example("12iB")
@example("1 G")
@example("12GiB\n")
@example("\u0661GB")
@example("9" * 999 + "GB")
def test_other_memory_is_refused_in_one_line(text: str) -> None:
    try:
        count = parse_bytes("--memory-limit", text)
    except InvalidInputError as error:
        message = str(error)
        assert message.startswith("--memory-limit: expected a number with a unit")
        assert len(message) < 200
    else:
        assert count > 0
        assert text[:1].isascii()
        assert text[:1].isdigit()
        assert text.lower().endswith("b")
