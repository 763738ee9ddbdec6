"""The initializer: serialization, scale and invalid arguments; fingerprints of weights."""

import hashlib
import json

import keras
import numpy as np
import pytest

from rwgen import InvalidInputError, SeededNormal
from rwgen.network.initializers import fingerprint
from rwgen.seeds import MAX_SEED, standard_normal

VALUES = {
    "stddev": 0.25,
    "seed": 3,
    "layer": "conv1_1",
    "variable": "bias",
    "candidate": 2,
    "positive": False,
}


def test_its_configuration_is_its_arguments_and_json():
    assert SeededNormal(**VALUES).get_config() == VALUES
    described = keras.initializers.serialize(SeededNormal(**VALUES))
    assert described["registered_name"] == "rwgen>SeededNormal"
    again = keras.initializers.deserialize(json.loads(json.dumps(described)))
    assert type(again) is SeededNormal
    assert again.get_config() == VALUES


def test_a_layer_that_uses_it_survives_serialisation():
    layer = keras.layers.Dense(4, kernel_initializer=SeededNormal(**VALUES))
    again = keras.layers.deserialize(json.loads(json.dumps(keras.layers.serialize(layer))))
    layer.build((None, 3))
    again.build((None, 3))
    assert np.any(layer.get_weights()[0])
    np.testing.assert_array_equal(again.get_weights()[0], layer.get_weights()[0])


def test_weights_are_the_scaled_draws_of_a_stream_named_by_layer_variable_and_candidate():
    draws = standard_normal(3, "weights/conv1_1/bias/2", (3, 5))
    weights = SeededNormal(**VALUES).draw((3, 5))
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, draws / 4)  # 0.25: exact
    positive = SeededNormal(**VALUES | {"positive": True}).draw((3, 5))
    np.testing.assert_array_equal(positive, np.abs(draws) / 4)


def test_calling_it_twice_gives_the_same_tensor_of_the_asked_dtype():
    initializer = SeededNormal(**VALUES)
    drawn = initializer.draw((4, 2))
    for dtype in (None, "float32", "float64"):
        tensor = initializer((4, 2), dtype)
        assert keras.backend.standardize_dtype(tensor.dtype) == (dtype or "float32")
        np.testing.assert_array_equal(np.asarray(tensor), drawn)
    half = np.asarray(initializer((4, 2), "float16"))
    np.testing.assert_array_equal(half, drawn.astype(np.float16))


def test_no_deviation_gives_zeros_and_the_default_is_the_papers():
    np.testing.assert_array_equal(SeededNormal(stddev=0).draw((2, 3)), np.zeros((2, 3)))
    draws = SeededNormal(layer="conv1_1").draw((200, 200))
    assert draws.std() == pytest.approx(0.015, rel=0.02)


@pytest.mark.parametrize(
    "change",
    [
        {"stddev": -0.1},
        {"stddev": float("nan")},
        {"stddev": float("inf")},
        {"candidate": -1},
        {"candidate": 1.0},
        {"candidate": True},
        {"seed": -1},
        {"seed": MAX_SEED + 1},
        {"seed": 0.5},
        {"seed": True},
        {"seed": None},
    ],
)
def test_arguments_out_of_range_are_refused_with_what_was_received(change):
    (value,) = change.values()
    with pytest.raises(InvalidInputError) as caught:
        SeededNormal(**{**VALUES, **change})
    assert str(caught.value).endswith(f"Received: {value!r}")


def test_a_fingerprint_is_a_hash_of_shapes_and_little_endian_float32():
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    bias = np.float32([0.5, -0.5, 1.5])
    plain = b"(2, 3)" + kernel.astype("<f4").tobytes() + b"(3,)" + bias.astype("<f4").tobytes()
    expected = hashlib.sha256(plain).hexdigest()
    assert fingerprint(kernel, bias) == expected
    assert fingerprint(kernel.astype(">f4"), bias.astype(np.float64)) == expected
    assert fingerprint(np.asfortranarray(kernel), bias) == expected


def test_a_fingerprint_sees_shape_order_and_the_smallest_change():
    kernel, bias = np.ones((2, 3), np.float32), np.zeros(3, np.float32)
    nudged = np.nextafter(kernel, np.float32(2))
    found = {
        fingerprint(*arrays)
        for arrays in [
            (kernel, bias),
            (bias, kernel),
            (kernel.T, bias),
            (kernel.ravel(), bias),
            (kernel,),
            (nudged, bias),
            (kernel, -bias),  # minus zero has other bits
        ]
    }
    assert len(found) == 7
