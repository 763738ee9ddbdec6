"""Arrays become TensorProtos that TensorFlow reads, with values in the typed fields."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from rwgen.serving.models.spec import DTYPES, STRING
from rwgen.serving.models.tensor_proto import from_array, to_array


def values_of(dtype):
    if dtype is STRING:
        return np.array([[b"", b"a"], [b"\xff", b"\x00b"], [b"c", b"d"]], object)
    if dtype.numpy.kind == "f":
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
    assert len(getattr(proto, dtype.field)) == array.size
    parsed = TensorProto.FromString(proto.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(parsed), array)
    np.testing.assert_array_equal(to_array(parsed, "x"), array)
