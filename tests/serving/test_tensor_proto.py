"""Arrays become TensorProtos that TensorFlow reads, with values in the typed fields."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from rwgen.serving.models.spec import DTYPES, STRING
from rwgen.serving.models.tensor_proto import from_array, to_array
from rwgen.serving.status import ServingError


def values_of(dtype):
    if dtype is STRING:
        return np.array([[b"", b"a"], [b"\xff", b"\x00b"], [b"c", b"d"]], object)
    if dtype.numpy.kind == "c":
        return np.array([[0.1j, -2.5], [np.inf, -0.0], [np.nan, 6e4 + 1j]], dtype.numpy)
    if dtype.numpy.kind == "f" or dtype.name == "bfloat16":
        return np.array([[0.1, -2.5], [np.inf, -0.0], [np.nan, 6e4]], dtype.numpy)
    if dtype.numpy.kind == "b":
        return np.array([[True, False], [False, False], [True, True]])
    limits = np.iinfo(dtype.numpy)
    return np.array([[limits.min, limits.max], [0, 1], [2, 3]], dtype.numpy)


@pytest.mark.parametrize("layout", ["whole", "transposed", "empty", "scalar"])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=lambda dtype: dtype.name)
def test_arrays_are_written_as_tensorflow_reads_them(dtype, layout):
    values = values_of(dtype)
    array = {
        "whole": values,
        "transposed": values.T,
        "empty": values[:0],
        "scalar": values[0, 1, np.newaxis].reshape(()),
    }[layout]
    proto = TensorProto()
    from_array(array, proto)
    assert tf.as_dtype(proto.dtype) == tf.as_dtype(dtype.numpy if dtype is not STRING else "string")
    assert not proto.tensor_content
    assert len(getattr(proto, dtype.field)) == array.size * (2 if dtype.numpy.kind == "c" else 1)
    parsed = TensorProto.FromString(proto.SerializeToString())
    # NumPy itself knows no bfloat16, and compares its NaN as unequal.
    wide = np.float32 if dtype.name == "bfloat16" else dtype.numpy
    np.testing.assert_array_equal(tf.make_ndarray(parsed).astype(wide), array.astype(wide))
    again = to_array(parsed, "x")
    assert again.dtype == dtype.numpy
    np.testing.assert_array_equal(again.astype(wide), array.astype(wide))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=lambda dtype: dtype.name)
def test_a_wrong_number_of_values_is_read_as_by_tensorflow(dtype):
    values = values_of(dtype)
    proto = TensorProto()
    from_array(values[1:].reshape(-1), proto)
    (first, second, *_), nothing = values[1:].reshape(-1).tolist(), np.zeros((), dtype.numpy).item()
    per_value = len(getattr(proto, dtype.field)) // 4
    for side, kept, expected in (
        (2, 4, [first, second]),
        (3, 2, [first, second, second]),
        (2, 0, [b"" if dtype is STRING else nothing] * 2),
    ):
        proto.tensor_shape.dim[0].size = side
        del getattr(proto, dtype.field)[kept * per_value :]
        assert to_array(proto, "x").tolist() == expected


def test_content_of_a_wrong_size_is_refused():
    proto = tf.make_tensor_proto(np.arange(6, dtype=np.float32))
    assert proto.tensor_content
    np.testing.assert_array_equal(to_array(proto, "x"), np.arange(6))
    proto.tensor_content += b"\0"
    with pytest.raises(ServingError, match="tensor parsing error: x"):
        to_array(proto, "x")
