"""Conversion between TensorProto messages and arrays, with checks of the declared size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray
from tensorflow.core.framework.tensor_pb2 import TensorProto

from rwgen.serving.admission import check_inputs
from rwgen.serving.models.spec import DTYPES, MAX_RANK, STRING, Signature, dtype_name
from rwgen.serving.status import invalid

STRING_BYTES = 64
"""Size that an element of a string tensor counts for, in addition to its bytes: a Python object."""

_NUMBER_OF = {dtype.numpy: dtype.number for dtype in DTYPES.values()}

_FIXED_SIZE_FIELDS = ("float_val", "double_val", "scomplex_val", "dcomplex_val")


def _packed_tensor() -> Any:
    """Make a message class that is a TensorProto with lists of numbers declared as bytes.

    On the wire, a packed list of numbers of a fixed size is the array's memory with a length, just
    like a field of bytes: a TensorProto can parse what this class serializes.
    """
    file = descriptor_pb2.FileDescriptorProto(name="rwgen_packed_tensor.proto", syntax="proto3")
    message = file.message_type.add(name="PackedTensor")
    for name in _FIXED_SIZE_FIELDS:
        number = TensorProto.DESCRIPTOR.fields_by_name[name].number
        message.field.add(name=name, number=number, type="TYPE_BYTES", label="LABEL_OPTIONAL")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message.name))


_PackedTensor = _packed_tensor()


def declared_shape(proto: Any, name: str) -> tuple[int, ...]:
    """Return the shape that a TensorProto declares.

    Raises:
        ServingError: INVALID_ARGUMENT, for an unknown rank or size, or too many dimensions.
    """
    shape = proto.tensor_shape
    if shape.unknown_rank or len(shape.dim) > MAX_RANK:
        raise invalid(f"Input {name}: expected a shape of at most {MAX_RANK} dimensions")
    sides = tuple(dim.size for dim in shape.dim)
    if any(side < 0 for side in sides):
        raise invalid(f"Input {name}: expected a shape without negative sizes")
    return sides


def declared_bytes(proto: Any, name: str) -> int:
    """Return the memory that a TensorProto needs as an array; a short message may declare a lot.

    Raises:
        ServingError: INVALID_ARGUMENT, see `declared_shape`, or for an unsupported element type.
    """
    if proto.dtype not in DTYPES:
        raise invalid(f"Input {name}: {dtype_name(proto.dtype)} is not supported")
    dtype = DTYPES[proto.dtype]
    each = STRING_BYTES if dtype is STRING else dtype.numpy.itemsize
    return each * math.prod(declared_shape(proto, name))


def to_array(proto: Any, name: str) -> NDArray[Any]:
    """Convert a TensorProto to an array, as TensorFlow's own parser does.

    Whichever field holds the values: if there are too few, the last one is repeated (0, if there is
    none), and if there are too many, the first ones are taken. Only `tensor_content` must have the
    right size.

    Args:
        proto: a TensorProto whose `declared_bytes` fit in memory.
        name: name of the input, for error messages.

    Raises:
        ServingError: INVALID_ARGUMENT, with TensorFlow Serving's message.
    """
    dtype, shape = DTYPES[proto.dtype], declared_shape(proto, name)
    content = proto.tensor_content
    if dtype is not STRING and len(content) == dtype.numpy.itemsize * math.prod(shape) > 0:
        return np.frombuffer(content, dtype.numpy).reshape(shape)  # the usual form, without a copy
    try:
        tensor = tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype))
    except tf.errors.InvalidArgumentError:
        raise invalid(f"tensor parsing error: {name}") from None
    return as_array(tensor.numpy())


def as_array(value: Any) -> NDArray[Any]:
    """Return a value that TensorFlow converted for NumPy as an array.

    Args:
        value: an array, a number, or `bytes` for a scalar string, to which NumPy would give an
            element type of their length.
    """
    return np.asarray(value, dtype=object if isinstance(value, bytes) else None)


def from_array(array: NDArray[Any], proto: Any) -> None:
    """Write an array into the typed field of a TensorProto, as TensorFlow Serving does.

    Args:
        array: an array of one of the types in `DTYPES`.
        proto: an empty TensorProto.
    """
    dtype = DTYPES[_NUMBER_OF[array.dtype]]
    proto.dtype = dtype.number
    proto.tensor_shape.SetInParent()  # that of a scalar is empty
    for side in array.shape:
        proto.tensor_shape.dim.add().size = side
    if dtype.field in _FIXED_SIZE_FIELDS:
        # Some eighty times faster than extending the list value by value.
        packed = _PackedTensor(**{dtype.field: array.tobytes()})
        proto.MergeFromString(packed.SerializeToString())
    elif dtype.field == "half_val":
        proto.half_val.extend(array.reshape(-1).view(np.uint16).tolist())
    else:
        getattr(proto, dtype.field).extend(array.reshape(-1).tolist())


def decode_inputs(
    protos: Any, signature: Signature, max_bytes: int
) -> tuple[dict[str, NDArray[Any]], int]:
    """Convert the inputs of a request to arrays.

    Args:
        protos: TensorProtos by name.
        signature: signature that the inputs must match.
        max_bytes: maximum size of all inputs together.

    Returns:
        The arrays by name, and the size in bytes that they count for.

    Raises:
        ServingError: INVALID_ARGUMENT, or RESOURCE_EXHAUSTED if the shapes declare too much.
            Nothing is allocated before that has been checked.
    """
    total = 0
    for name, proto in protos.items():
        signature.check_dtype(name, dtype_name(proto.dtype))
        total += declared_bytes(proto, name)
    check_inputs(total, max_bytes)
    return {name: to_array(proto, name) for name, proto in protos.items()}, total
