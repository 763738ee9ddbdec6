"""Small models with several signatures, as versions in folders."""

import tensorflow as tf
from tensorflow.compat import v1

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


def save_tensorflow_1(folder, words, *, as_text=False):
    """Write a model as TensorFlow Serving's tests use: y = 0.5 x + 2, by TensorFlow 1.

    Its signatures take `x` itself (declared as [?, 1]), or serialized `tf.train.Example` protos
    that contain it, for Predict, Regress and Classify. Others involve reference variables, as
    inputs, outputs and state, and `ids` looks words up in an asset.
    """
    constants = v1.saved_model.signature_constants
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(words))
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.get_variable("a", initializer=0.5, use_resource=False)
        b = v1.get_variable("b", initializer=2.0, use_resource=False)
        examples = v1.placeholder(tf.string, name="examples")
        feature = v1.FixedLenFeature([1], tf.float32)
        x = tf.identity(v1.parse_example(examples, {"x": feature})["x"], name="x")
        y = tf.add(tf.multiply(a, x), b, name="y")
        asset = v1.constant(str(vocabulary))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        texts = v1.placeholder(tf.string, [None], name="texts")
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                asset,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            num_oov_buckets=1,
        )
        counter = v1.get_variable("counter", initializer=0.0, use_resource=False)
        delta = v1.placeholder(tf.float32, [], name="delta")
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder / str(VERSION)))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": _definition({"x": x}, {"y": y}),
                "examples": _definition({"examples": examples}, {"y": y}),
                "variable": _definition({"a": a, "x": x}, {"y": y}),
                "ids": _definition({"texts": texts}, {"ids": table.lookup(texts)}),
                "count": _definition({}, {"counter": counter}),
                "add": _definition({"delta": delta}, {"counter": v1.assign_add(counter, delta)}),
                "regress_x_to_y": _definition(
                    {constants.REGRESS_INPUTS: examples},
                    {constants.REGRESS_OUTPUTS: y},
                    constants.REGRESS_METHOD_NAME,
                ),
                "classify_x_to_y": _definition(
                    {constants.CLASSIFY_INPUTS: examples},
                    {constants.CLASSIFY_OUTPUT_SCORES: y},
                    constants.CLASSIFY_METHOD_NAME,
                ),
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save(as_text)
    return folder


def _definition(
    inputs, outputs, method_name=v1.saved_model.signature_constants.PREDICT_METHOD_NAME
):
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {name: info(tensor) for name, tensor in inputs.items()},
        {name: info(tensor) for name, tensor in outputs.items()},
        method_name,
    )
