"""Validation: which values pass, and what the message says about the others."""

import fractions
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwgen.checks import (
    check_choice,
    check_count,
    check_layers,
    check_number,
    is_count,
    is_number,
    unexpected,
)
from rwgen.errors import InvalidInputError, LayerError, RecipeError

LARGEST = int(sys.float_info.max)
NO_NUMBERS = [
    None,
    True,
    False,
    "1",
    b"1",
    1j,
    [1],
    (1,),
    {},
    fractions.Fraction(1),
    np.bool_(True),
    np.int64(1),
    np.uint8(1),
    np.float32(1),
    np.array(1),
    np.array([1]),
]
NOT_FINITE = [math.nan, math.inf, -math.inf, LARGEST * 2, 10**400, -(10**400), np.float64("nan")]


def nested(kind, depth):
    value = kind()
    for _ in range(depth):
        value = {"a": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_FINITE[:3], 1.0, -1, -(10**400)], ids=repr)
def test_what_is_no_count_is_refused(value):
    assert not is_count(value)
    with pytest.raises(InvalidInputError, match=r"^x: expected an integer from 0\. Rec"):
        check_count("x", value)


@given(st.integers(), st.integers(), st.none() | st.integers())
def test_counts_are_the_integers_of_their_range(value, least, most):
    span = range(least, max(least, value) + 1 if most is None else most + 1)
    assert is_count(value, least, most) is (value in span)


@pytest.mark.parametrize("value", [0, 1, 2**63, 10**60])
def test_counts_have_no_largest_value_unless_one_is_given(value):
    check_count("x", value)
    with pytest.raises(InvalidInputError, match=rf"an integer from -3 to {value - 1}\. Received"):
        check_count("x", value, -3, value - 1)


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_FINITE], ids=repr)
def test_what_is_no_finite_number_is_refused(value):
    assert not is_number(value)
    assert not is_number(value, -math.inf)
    with pytest.raises(InvalidInputError, match=r"^x: expected a finite number from 0\. Rec"):
        check_number("x", value)


@pytest.mark.parametrize("value", [0, -0.0, 5e-324, 1, 0.5, LARGEST, sys.float_info.max])
def test_finite_numbers_pass(value):
    check_number("x", value)
    float(value)  # raises where no float holds it


def test_a_float64_of_numpy_is_a_float():
    check_number("x", np.float64(0.5))


@given(st.floats() | st.integers(), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_numbers_are_those_of_their_range(value, least, most):
    expected = least <= value <= most
    assert is_number(value, least, most) is expected
    for exclusive in (False, True):
        if expected and not (exclusive and value == least):
            check_number("x", value, least, most, exclusive=exclusive)
        else:
            with pytest.raises(InvalidInputError):
                check_number("x", value, least, most, exclusive=exclusive)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "a finite number from 0"),
        ({"least": 0.5}, "a finite number from 0.5"),
        ({"most": 1}, "a finite number from 0 to 1"),
        ({"most": 1e6}, "a finite number from 0 to 1e+06"),
        ({"exclusive": True}, "a finite number above 0"),
        ({"exclusive": True, "most": 1}, "a finite number above 0 and at most 1"),
        ({"unit": "seconds", "most": 60}, "seconds from 0 to 60"),
    ],
)
def test_the_range_of_a_number_is_described(options, expected):
    with pytest.raises(InvalidInputError) as caught:
        check_number("weight", -1, **options)
    assert str(caught.value) == f"weight: expected {expected}. Received: -1"


@pytest.mark.parametrize("value", ["c", "", "A", "a, b", b"a", None, 0, True, [], ["a"], {}, {"a"}])
def test_what_is_no_choice_is_refused(value):
    check_choice("x", "b", ("a", "b"))
    with pytest.raises(InvalidInputError) as caught:
        check_choice("x", value, ("a", "b"))
    assert str(caught.value) == f"x: expected one of a, b. Received: {value!r}"


@pytest.mark.parametrize(
    "value", [(), [], ["a"], "a", None, 3, (1,), ("a", None), {"a"}, iter(["a"]), np.array(["a"])]
)
def test_what_are_no_layers_is_refused(value):
    check_layers("x", ("a", "b"))
    with pytest.raises(InvalidInputError, match=r"^x: expected a tuple of layer names\. Rec"):
        check_layers("x", value)


def test_the_class_of_the_error_is_the_callers():
    assert type(unexpected("x", "y", 1, LayerError)) is LayerError
    for check, value in ((check_count, -1), (check_number, -1)):
        with pytest.raises(RecipeError):
            check("x", value, error=RecipeError)
    with pytest.raises(RecipeError):
        check_choice("x", "b", ["a"], RecipeError)


class Broken:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        "a\nb" * 10**6,
        b"x" * 10**6,
        10**400,
        10**5000,
        [10**5000],
        {10**5000: None},
        list(range(10**6)),
        nested(list, 50),
        nested(list, 100_000),
        nested(tuple, 100_000),
        nested(dict, 100_000),
        [[[[[["x" * 1000] * 9] * 9] * 9] * 9] * 9] * 9,
        {number: {1, "a", None} for number in range(1000)},
        np.zeros((30, 30)),
        [np.zeros((3, 3))],
        Broken(),
        [Broken()],
        type("Lines", (), {"__repr__": lambda self: "a\r\n\n b"})(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_message_is_one_short_line_whatever_was_received(value):
    message = str(unexpected("field", "a value", value))
    assert message.startswith("field: expected a value. Received: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 140
    for check in (check_number, check_layers):
        with pytest.raises(InvalidInputError):
            check("field", value)


@given(st.text(max_size=50))
def test_short_values_are_shown_unchanged(text):
    message = str(unexpected("x", "y", text))
    assert message == f"x: expected y. Received: {text!r}" or len(repr(text)) > 60
