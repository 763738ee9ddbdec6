"""A small model with several signatures, as versions in folders."""

import tensorflow as tf

VERSION = 123


class Affine(tf.Module):
    """y = 0.5 x + offset, and other signatures; `runs` counts the runs of `batched`."""

    def __init__(self, offset):
        super().__init__()
        self.offset = tf.Variable(float(offset))
        self.runs = tf.Variable(0, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def any_shape(self, x):
        return {"y": 0.5 * x + self.offset}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def batched(self, x):
        count = self.runs.assign_add(1)
        return {"y": 0.5 * x + self.offset, "run": tf.fill(tf.shape(x), count)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def slow(self, x):  # blocks in tests with the fixture `held`
        return {"y": 0.5 * x + self.offset}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def large(self, x):
        return {"y": tf.repeat(x[:, tf.newaxis], 300_000, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "texts")])
    def parse(self, texts):
        return {"number": tf.strings.to_number(texts), "texts_bytes": texts}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.int32, "a"),
            tf.TensorSpec([None], tf.uint8, "b"),
        ]
    )
    def two(self, a, b):
        return {"sum": tf.reduce_sum(a, axis=1) + tf.cast(b, tf.int32)}


def save_model(folder, version=VERSION, offset=2.0, warmup=None):
    """Write a version as an export does: under another name, and then renamed."""
    model = Affine(offset)
    temporary = folder / f".new-{version}"
    tf.saved_model.save(
        model,
        str(temporary),
        signatures={
            "serving_default": model.any_shape,
            "batched": model.batched,
            "slow": model.slow,
            "large": model.large,
            "parse": model.parse,
            "two": model.two,
        },
    )
    if warmup is not None:
        (temporary / "assets.extra").mkdir()
        path = temporary / "assets.extra" / "tf_serving_warmup_requests"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in warmup:
                writer.write(record)
    temporary.rename(folder / str(version))
    return folder


def save_echo(folder, dtypes):
    """Write a model with a signature per element type, which returns its input of any shape."""

    def signature(dtype, function):
        return tf.function(function, input_signature=[tf.TensorSpec(None, dtype, "x")])

    signatures = {dtype.name: signature(dtype, lambda x: {"y": tf.identity(x)}) for dtype in dtypes}
    signatures["texts"] = signature(
        # The texts as bytes, and a scalar next to them.
        tf.string,
        lambda x: {"y_bytes": tf.identity(x), "first": tf.reshape(x, [-1])[0]},
    )
    module = tf.Module()
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(folder / str(VERSION)), signatures)
    return folder
