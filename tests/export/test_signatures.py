"""Decoding of images in the graph, compared with Pillow, and refusal of invalid ones."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import rwgen
from rwgen.errors import reason_of
from rwgen.export.signatures import MAX_ENCODED_PIXELS, decode_images, signature

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


def encoded(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def png(width, height):
    """Return a PNG of a few bytes that declares an arbitrary size."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def jpeg(width, height):
    """Return a JPEG of one gray pixel whose header declares another size."""
    data = bytearray(encoded(Image.new("L", (1, 1)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "L"), ("PNG", "RGBA"), ("JPEG", "RGB")]
)
def test_images_are_those_of_pillow(kind, mode):
    with Image.open(PHOTO) as photo:
        image = photo.resize((60, 40)).convert(mode)
    data = encoded(image, kind)
    result = decode_images(tf.constant([data, data]), (40, 60)).numpy()
    assert result.shape == (2, 40, 60, 3)
    with Image.open(io.BytesIO(data)) as read:
        expected = np.asarray(read.convert("RGB"), np.float32)
        smaller = np.asarray(read.convert("RGB").resize((30, 20), Image.Resampling.BILINEAR))
    # JPEG decoders differ by a few levels.
    np.testing.assert_allclose(result[1], expected, atol=0 if kind == "PNG" else 6)
    small = decode_images(tf.constant([data]), (20, 30)).numpy()[0]
    np.testing.assert_allclose(small, smaller, atol=1.01 if kind == "PNG" else 6)
    assert 0 <= small.min() <= small.max() <= 255


def test_images_too_small_for_the_deepest_layer_are_refused_with_the_reason():
    network = rwgen.build_network(rwgen.Recipe(blocks=((2, 1), (2, 1))), "pool2")
    extractor = rwgen.feature_extractor(network, ["conv1_1", "pool2"])
    function = signature("features", extractor, (8, 8))
    assert function(tf.zeros([1, 4, 5, 3], tf.uint8))["pool2"].shape == (1, 1, 1, 2)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        function(tf.zeros([1, 4, 3, 3], tf.uint8))
    assert reason_of(caught.value) == (
        "expected images of at least 4 pixels a side. Received height and width: 4 3"
    )


def test_an_empty_batch_has_no_images():
    assert decode_images(tf.constant([], tf.string), (8, 9)).shape == (0, 8, 9, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "JPEG or PNG"),
        (b"hello", "JPEG or PNG"),
        (encoded(Image.new("RGB", (4, 4)), "GIF"), "JPEG or PNG"),
        (encoded(Image.new("RGB", (4, 4)), "BMP"), "JPEG or PNG"),
        (encoded(Image.new("RGB", (4, 4)), "PNG")[:20], "JPEG or PNG"),
        (encoded(Image.new("RGB", (40, 40)), "PNG")[:50], "PNG"),
        (encoded(Image.new("RGB", (40, 40)), "JPEG")[:30], "JPEG|jpeg"),
        (png(1 << 14, 1 << 13), f"at most {MAX_ENCODED_PIXELS} pixels"),
        (png(0xFFFFFFFF, 0xFFFFFFFF), f"at most {MAX_ENCODED_PIXELS} pixels"),
        (jpeg(65_500, 65_500), f"at most {MAX_ENCODED_PIXELS} pixels"),
    ],
)
def test_anything_else_is_refused_without_decoding_it(data, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode_images(tf.constant([data]), (8, 8))
