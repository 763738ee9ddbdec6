"""TensorProto messages as arrays, after a look at the size that they declare, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from numpy.typing import NDArray

from rwgen.serving.models.spec import DTYPES, MAX_RANK, STRING, Signature, dtype_name
from rwgen.serving.status import invalid

STRING_BYTES = 64
"""What an element of a string tensor is counted as, besides its bytes: a Python object."""

_NUMBER_OF = {dtype.numpy: dtype.number for dtype in DTYPES.values()}

# Field number in TensorProto of values that have one size on the wire, where a packed list of them
# looks just like the array in memory.
_PACKED = {"float_val": 5, "double_val": 6}


def declared_shape(proto: Any, name: str) -> tuple[int, ...]:
    """The shape that a TensorProto says it has.

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
    """What a TensorProto takes in memory as an array; a short message may declare a lot.

    Raises:
        ServingError: INVALID_ARGUMENT, see `declared_shape`, or for an element type that cannot be
            sent.
    """
    if proto.dtype not in DTYPES:
        raise invalid(f"Input {name}: {dtype_name(proto.dtype)} cannot be sent")
    dtype = DTYPES[proto.dtype]
    each = STRING_BYTES if dtype is STRING else dtype.numpy.itemsize
    return each * math.prod(declared_shape(proto, name))


def to_array(proto: Any, name: str) -> NDArray[Any]:
    """The values of a TensorProto, in whichever of its fields they are.

    Args:
        proto: with a `declared_bytes` that there is room for.
        name: of the input, for messages.

    Raises:
        ServingError: INVALID_ARGUMENT, if it has not the values that its shape needs.
    """
    shape = declared_shape(proto, name)
    dtype = DTYPES[proto.dtype]
    values = len(getattr(proto, dtype.field))
    if not proto.tensor_content and (values > math.prod(shape) or (not values and 0 not in shape)):
        raise invalid(
            f"Input {name}: expected {math.prod(shape)} values or fewer, of which the last counts "
            f"for the rest, but {values} are provided"
        )
    try:
        # Of fewer values, the last one is repeated.
        array = tf.make_ndarray(proto)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(f"Input {name}: not a valid tensor: {error}") from None
    return np.asarray(array, dtype.numpy)


def from_array(array: NDArray[Any], proto: Any) -> None:
    """Write an array into a TensorProto, in its typed field as TensorFlow Serving does.

    Args:
        array: of one of the types in `DTYPES`.
        proto: an empty TensorProto.
    """
    dtype = DTYPES[_NUMBER_OF[array.dtype]]
    proto.dtype = dtype.number
    for side in array.shape:
        proto.tensor_shape.dim.add().size = side
    if dtype.field in _PACKED:
        _append_packed(proto, _PACKED[dtype.field], np.ascontiguousarray(array).tobytes())
    elif dtype.field == "half_val":
        proto.half_val.extend(array.reshape(-1).view(np.uint16).tolist())
    else:
        getattr(proto, dtype.field).extend(array.reshape(-1).tolist())


def _append_packed(proto: Message, field: int, content: bytes) -> None:
    """Read a field as if it had come over the wire: much faster than a list of its values."""
    if content:
        proto.MergeFromString(_varint(field << 3 | 2) + _varint(len(content)) + content)


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def decode_inputs(
    protos: Any, signature: Signature, max_bytes: int
) -> tuple[dict[str, NDArray[Any]], int]:
    """The inputs of a request.

    Args:
        protos: TensorProtos by name.
        signature: what they must fit.
        max_bytes: what they may take together.

    Returns:
        The arrays, and what they were counted as in bytes.

    Raises:
        ServingError: INVALID_ARGUMENT. Nothing is made before the sizes have been checked.
    """
    total = 0
    for name, proto in protos.items():
        signature.check_input(name, dtype_name(proto.dtype), declared_shape(proto, name))
        total += declared_bytes(proto, name)
    if total > max_bytes:
        raise invalid(
            f"Expected inputs of at most {max_bytes} bytes but {total} are declared by their shapes"
        )
    return {name: to_array(proto, name) for name, proto in protos.items()}, total
