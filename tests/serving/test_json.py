"""The JSON codec beyond TensorFlow Serving's cases."""

import base64
import json

import numpy as np
import pytest

from rwgen.serving.models.spec import DTYPES, TensorInfo
from rwgen.serving.rest.json_request import decode_request
from rwgen.serving.rest.json_response import encode_response
from rwgen.serving.status import ServingError

FLOAT, INT32, UINT8, STRING, BOOL = (
    TensorInfo(DTYPES[number], None) for number in (1, 3, 4, 7, 10)
)


def decode(body, **infos):
    body = body if isinstance(body, bytes) else body.encode()
    return decode_request(body, lambda _name: infos)


@pytest.mark.parametrize(
    ("body", "infos", "message"),
    [
        ("", {"x": FLOAT}, "The document is empty"),
        ("[1]", {"x": FLOAT}, "Is not object"),
        ("{}", {"x": FLOAT}, "Missing 'inputs' or 'instances' key"),
        (" \n", {"x": FLOAT}, "The document is empty. at offset: 2"),
        ('{"inputs": 1, "instances": [1]}', {"x": FLOAT}, "only one of"),
        ('{"instances": 1}', {"x": FLOAT}, "Excepting 'instances' to be an list/array"),
        ('{"instances": []}', {"x": FLOAT}, "No values in 'instances' array"),
        ('{"instances": [1], }', {"x": FLOAT}, "Missing a name for object member"),
        ('{"instances": [1', {"x": FLOAT}, "Missing a comma or ] after an array element"),
        ('{"a": "]\\"", "b": [], "c": {"d": 1 "e"', {"x": FLOAT}, "Missing a comma or } after"),
        ('{"instances": [1.]}', {"x": FLOAT}, "Miss fraction part in number. at offset: 16"),
        ('{"instances": [1e]}', {"x": FLOAT}, "Miss exponent in number"),
        ('{"instances": ["\u00fc", }', {"x": FLOAT}, "Invalid value. at offset: 21"),
        ('{"instances": [1]} 2', {"x": FLOAT}, "must not be followed by other values"),
        (b"\xff\xfe{\x00}\x00", {"x": STRING}, "Invalid value"),  # UTF-16
        ('{"instances": ["\n"]}', {"x": STRING}, "Invalid encoding in string"),
        ('{"instances": ["\\ud800"]}', {"x": STRING}, "surrogate pair in string is invalid"),
        ('{"instances": ["\\udc80"]}', {"x": STRING}, "surrogate pair in string is invalid"),
        ('{"instances": ["\\ud83d\\\\ude00"]}', {"x": STRING}, "surrogate pair .*offset: 16"),
        ('{"instances": ["\\ud83"]}', {"x": STRING}, "Incorrect hex digit"),
        ('{"instances": [' + "9" * 5000 + "]}", {"x": INT32}, "Number too big"),
        ('{"instances": [' + "1, " * (1 << 15) + "1", {"x": INT32}, "a comma or closing bracket"),
        ('{"instances": [' + "9" * 500 + "]}", {"x": FLOAT}, "Number too big .* offset: 15"),
        ('{"instances": [1, -1e999]}', {"x": FLOAT}, "Number too big .* offset: 18"),
        ('{"instances": [3000000000]}', {"x": INT32}, "not of expected type: int32"),
        ('{"instances": [1.0]}', {"x": INT32}, "not of expected type: int32"),
        ('{"instances": [256]}', {"x": UINT8}, "not of expected type: uint8"),
        ('{"instances": [-1]}', {"x": UINT8}, "not of expected type: uint8"),
        ('{"instances": [1, true]}', {"x": INT32}, "JSON Value: true Type: True is not"),
        ('{"instances": [1, null]}', {"x": FLOAT}, "JSON Value: null Type: Null is not"),
        ('{"instances": [1]}', {"x": STRING}, "not of expected type: string"),
        ('{"instances": [1]}', {"x": BOOL}, "not of expected type: bool"),
        ('{"instances": [{"b64": "?"}]}', {"x": STRING}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "A"}]}', {"x": STRING}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "AA="}]}', {"x": STRING}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "AAAA="}]}', {"x": STRING}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "A=A="}]}', {"x": STRING}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "-_-_"}]}', {"x": STRING}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "AA\\u2028AA"}]}', {"x": STRING}, "Unable to base64 decode"),
        ('{"instances": [{"b64": "\u00fc"}]}', {"x": STRING}, "Unable to base64 decode"),
        ('{"inputs": [{"b64": 1}]}', {"x": STRING}, "not formatted correctly for base64 data"),
        ('{"inputs": [{"b": "AA"}]}', {"x": STRING}, "not formatted correctly for base64 data"),
        ('{"instances": [{"b64": "AA", "c": 1}]}', {"x": STRING}, "does not have named input"),
        ('{"instances": [{"b64": "AA"}]}', {"x": FLOAT}, "Type: Object is not of expected"),
        ('{"instances": [1]}', {"x": FLOAT, "y": FLOAT}, "instances is a plain list"),
        ('{"instances": [{"x": 1}]}', {"x": FLOAT, "y": FLOAT}, "keys must be equal to: x,y"),
        ('{"instances": [{"x": 1}, 2]}', {"x": FLOAT}, "Expecting object but got list"),
        ('{"inputs": [1]}', {"x": FLOAT, "y": FLOAT}, "inputs is a plain value/list"),
        ('{"inputs": {"x": 1}}', {"x": FLOAT, "y": FLOAT}, "Missing named input: y"),
        ('{"inputs": {"z": 1}}', {"x": FLOAT}, "Missing named input: x"),
        ('{"instances": [{"x": 1, "z": 1}]}', {"x": FLOAT}, "does not have named input: z"),
        ('{"inputs": [[1, 2], [3]]}', {"x": FLOAT}, "list at unexpected size: 1 at level: 1"),
        (
            '{"inputs": [[1, 2], 3]}',
            {"x": FLOAT},
            "JSON Value: 3 found at incorrect level: 2 in .* at level: 2",
        ),
        ('{"inputs": [1, [2]]}', {"x": FLOAT}, "list at unexpected level: 1 expected < 1"),
        ('{"inputs": ' + "[" * 40 + "1" + "]" * 40 + "}", {"x": FLOAT}, "at most 32 dimensions"),
        ('{"inputs": ' + "[" * 90_000 + "}", {"x": FLOAT}, "nested too deeply"),
        ('{"inputs": ' + "[" * 400 + "]" * 400 + "}", {"x": FLOAT}, "at most 32 dimensions"),
        ('{"signature_name": ' + '{"a":' * 400 + "1" + "}" * 401, {"x": FLOAT}, "string value"),
    ],
)
def test_what_is_wrong_is_told(body, infos, message):
    with pytest.raises(ServingError, match=message) as caught:
        decode(body, **infos)
    assert caught.value.http == 400
    assert len(caught.value.message) <= 1024


@pytest.mark.parametrize(
    ("body", "info", "expected"),
    [
        ('{"inputs": 3}', FLOAT, np.float32(3)),
        ('{"inputs": []}', INT32, np.empty(0, np.int32)),
        ('{"inputs": [[], []]}', UINT8, np.empty((2, 0), np.uint8)),
        ('{"inputs": [0, 255]}', UINT8, np.array([0, 255], np.uint8)),
        ('{"inputs": [true, false]}', BOOL, np.array([True, False])),
        ('{"inputs": [[-Infinity], [1e39]]}', FLOAT, np.array([[-np.inf], [np.inf]])),
        (
            '{"inputs": ["\\u00fc", {"b64": "/w"}]}',
            STRING,
            np.array([b"\xc3\xbc", b"\xff"], object),
        ),
        # Names that a signature does not have are ignored in columns.
        ('{"inputs": {"z": [[]], "x": 1}, "z": {}}', FLOAT, np.float32(1)),
        # The first of several values with one name counts.
        ('{"inputs": [1], "inputs": [2], "inputs": 3}', FLOAT, np.array([1], np.float32)),
        ('{"inputs": {"x": 1, "y": 2, "x": "none"}}', FLOAT, np.float32(1)),
        ('{"instances": [{"x": 1, "x": 2}, {"x": 3}]}', FLOAT, np.array([1, 3], np.float32)),
        # Bytes that are not UTF-8 are part of a string, and an escaped pair is one character.
        (
            b'{"inputs": ["caf\xe9", "\xff\x80"]}',
            STRING,
            np.array([b"caf\xe9", b"\xff\x80"], object),
        ),
        (
            b'{"inputs": ["\\ud83d\\ude00\xe9", "\\\\ud800"]}',
            STRING,
            np.array(["\U0001f600".encode() + b"\xe9", b"\\ud800"], object),
        ),
        (b'\xef\xbb\xbf{"inputs": ["\xc3\xbc"]}', STRING, np.array([b"\xc3\xbc"], object)),
    ],
)
def test_values_become_arrays(body, info, expected):
    array = decode(body, x=info).inputs["x"]
    assert array.dtype == info.dtype.numpy
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000])
@pytest.mark.parametrize(
    "written",
    [
        base64.b64encode,
        base64.encodebytes,  # in lines of 76 digits
        lambda data: base64.encodebytes(data).replace(b"\n", b"\r\n"),
        lambda data: base64.b64encode(data).rstrip(b"="),
        lambda data: b" \t" + base64.b64encode(data).replace(b"=", b" ="),
    ],
)
def test_base64_as_encoders_write_it(size, written):
    data = np.random.default_rng(size).bytes(size)
    value = {"b64": written(data).decode()}
    assert decode(json.dumps({"inputs": value}), x=STRING).inputs["x"].item() == data
    rows = decode(json.dumps({"instances": [value, value]}), x=STRING).inputs["x"]
    assert rows.tolist() == [data, data]


def test_large_integers_keep_their_digits():
    for number in (2**63 - 1, -(2**63)):
        body = json.dumps({"inputs": [number]})
        assert decode(body, x=TensorInfo(DTYPES[9], None)).inputs["x"].tolist() == [number]
    body = json.dumps({"inputs": [2**64 - 1]})
    assert decode(body, x=TensorInfo(DTYPES[23], None)).inputs["x"].tolist() == [2**64 - 1]


def test_one_long_text_among_numbers_takes_no_memory_for_the_others():
    # By default, NumPy would pad every element to the length of the longest: here 80 GB.
    body = json.dumps({"inputs": ["x" * 200_000, *range(100_000)]})
    with pytest.raises(ServingError, match="not of expected type"):
        decode(body, x=FLOAT)


def test_an_image_is_read_by_numpy(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    body = json.dumps({"instances": image.tolist()})
    # Not element by element, which is much slower.
    monkeypatch.setattr("rwgen.serving.rest.json_values._collect", None)
    array = decode(body, x=UINT8).inputs["x"]
    np.testing.assert_array_equal(array, image)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).standard_normal(500).astype(np.float32),
        np.float32(10) ** np.arange(-40, 39, dtype=np.float32),
        np.array([0.1, -0.0, 1e6, 1234567, 16777216, 1e22, np.inf, -np.inf, np.nan], np.float32),
        np.random.default_rng(1).standard_normal(50) * 1e15,
        np.array([0.1, 1e-300, 1e300, 2.0**60]),
        np.array([1.5, 65504], np.float16),
        np.array([-(2**63), 2**63 - 1]),
        np.array([True, False]),
    ],
)
def test_numbers_are_written_so_that_they_are_read_the_same(values):
    content = json.loads(encode_response({"y": values}, row=False))
    again = np.array(content["outputs"]).astype(values.dtype)
    np.testing.assert_array_equal(again, values)


def test_several_outputs_in_rows_and_columns():
    outputs = {
        "a": np.array([[1, 2], [3, 4]], np.int32),
        "b_bytes": np.array([b"\xff", b""], object),
        "c": np.array(["ü".encode(), b"x"], object),
        "d": np.empty((2, 0), np.float32),
    }
    rows = json.loads(encode_response(outputs, row=True))["predictions"]
    code = base64.b64encode(b"\xff").decode()
    assert rows[0] == {"a": [1, 2], "b_bytes": {"b64": code}, "c": "ü", "d": []}
    assert rows[1] == {"a": [3, 4], "b_bytes": {"b64": ""}, "c": "x", "d": []}
    columns = json.loads(encode_response(outputs, row=False))["outputs"]
    assert columns == {key: [row[key] for row in rows] for key in outputs}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "empty tensor map"),
        ({"y": np.array(1)}, "no shape information"),
        ({"y": np.array([b"\xff"], object)}, "not UTF-8"),
    ],
)
def test_what_cannot_be_written_is_told(outputs, message):
    with pytest.raises(ServingError, match=message):
        encode_response(outputs, row=True)
