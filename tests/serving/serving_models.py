"""Small models with several signatures, as versions in folders."""

import tensorflow as tf
from tensorflow.compat import v1

VERSION = 123
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


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

    def signatures(self):
        return {
            "serving_default": self.any_shape,
            "batched": self.batched,
            "slow": self.slow,
            "large": self.large,
            "parse": self.parse,
            "two": self.two,
        }


class ParsingAffine(Affine):
    """Also has the signatures of `save_tensorflow_1` that test cases use, by TensorFlow 2.

    Those for Classify and Regress declare Predict as their method.
    """

    @tf.function(
        input_signature=[tf.TensorSpec(None, tf.float32, "a"), tf.TensorSpec(None, tf.float32, "x")]
    )
    def variable(self, a, x):
        return {"y": a * x + self.offset}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def both(self, x):
        return {"y": 0.5 * x + self.offset, "y2": 0.5 * x + 3.0}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string, "texts")])
    def texts(self, texts):
        return {"copy": tf.identity(texts), "copy_bytes": tf.identity(texts)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify_x_to_y(self, inputs):
        return {"scores": 0.5 * _parsed(inputs)["x"] + self.offset}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress_x_to_y(self, inputs):
        return {"outputs": 0.5 * _parsed(inputs)["x"] + self.offset}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress_x_to_y2(self, inputs):
        return {"outputs": 0.5 * _parsed(inputs)["x"] + 3.0}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "inputs")])
    def regress_x2_to_y3(self, inputs):
        return {"outputs": 0.5 * inputs + 3.0}

    def signatures(self):
        return {
            **super().signatures(),
            "variable": self.variable,
            "both": self.both,
            "texts": self.texts,
            "classify_x_to_y": self.classify_x_to_y,
            "regress_x_to_y": self.regress_x_to_y,
            "regress_x_to_y2": self.regress_x_to_y2,
            "regress_x2_to_y3": self.regress_x2_to_y3,
        }


def _parsed(examples):
    return tf.io.parse_example(
        examples,
        {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "x2": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
        },
    )


def save_model(folder, version=VERSION, offset=2.0, warmup=None, kind=Affine):
    """Write a version as an export does: under another name, and then renamed."""
    model = kind(offset)
    temporary = folder / f".new-{version}"
    tf.saved_model.save(model, str(temporary), signatures=model.signatures())
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


def save_echo_tensorflow_1(folder, dtypes):
    """Write the signatures of `save_echo` by TensorFlow 1."""
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {}
        for dtype in dtypes:
            x = v1.placeholder(dtype, name=dtype.name)
            signatures[dtype.name] = _definition({"x": x}, {"y": tf.identity(x)})
            if dtype == tf.string:
                outputs = {"y_bytes": tf.identity(x), "first": tf.reshape(x, [-1])[0]}
                signatures["texts"] = _definition({"x": x}, outputs)
        builder = v1.saved_model.Builder(str(folder / str(VERSION)))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return folder


def save_tensorflow_1(folder, words, *, as_text=False):
    """Write a model as TensorFlow Serving's tests use, `half_plus_two`, by TensorFlow 1.

    Its signatures compute y = 0.5 x + 2, y2 = 0.5 x + 3 and y3 = 0.5 x2 + 3. They take `x` itself
    (declared as [?, 1]), or serialized `tf.train.Example` protos that contain it, for Predict,
    Regress and Classify. Others involve reference variables, as inputs, outputs and state, and
    `ids` looks words up in an asset.
    """
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(words))
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.get_variable("a", initializer=0.5, use_resource=False)
        b = v1.get_variable("b", initializer=2.0, use_resource=False)
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        parsed = _parsed(examples)
        x = tf.identity(parsed["x"], name="x")
        y = tf.add(tf.multiply(a, x), b, name="y")
        y2 = tf.add(tf.multiply(a, x), 3.0, name="y2")
        x2 = tf.identity(parsed["x2"], name="x2")
        y3 = tf.add(tf.multiply(a, x2), 3.0, name="y3")
        asset = v1.constant(str(vocabulary))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        texts = v1.placeholder(tf.string, [None], name="texts")
        copy = tf.identity(texts)
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
                "both": _definition({"x": x}, {"y": y, "y2": y2}),
                "texts": _definition({"texts": texts}, {"copy": copy, "copy_bytes": copy}),
                "ids": _definition({"texts": texts}, {"ids": table.lookup(texts)}),
                "count": _definition({}, {"counter": counter}),
                "add": _definition({"delta": delta}, {"counter": v1.assign_add(counter, delta)}),
                "regress_x_to_y": regression(examples, {"outputs": y}),
                "regress_x_to_y2": regression(examples, {"outputs": y2}),
                "regress_x2_to_y3": regression(x2, {"outputs": y3}),
                "classify_x_to_y": classification(examples, {"scores": y}),
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save(as_text)
    return folder


def save_odd_examples(folder):
    """Write a model with signatures for Classify and Regress, also with wrong outputs.

    `labeled` classifies `x` as small or large, from 10 on. `labels` returns the feature `label`.
    `features` returns the features `f`, `i` and `s` to Predict, which take lists of any length.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        other = v1.placeholder(tf.string, [None], name="other")
        parsed = tf.io.parse_example(
            examples,
            {
                "x": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
                "label": tf.io.FixedLenFeature([1], tf.string, default_value=["none"]),
                "f": tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True),
                "i": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
                "s": tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
            },
        )
        x = parsed["x"]
        scores = tf.concat([10.0 - x, x - 10.0], axis=1)
        names = tf.fill(tf.shape(scores), "") + tf.constant([["small", "large"]])
        row = x[:, 0]
        predicted = {name: parsed[name] for name in "fis"}
        definitions = {
            "serving_default": classification(examples, {"classes": names, "scores": scores}),
            "labels": classification(examples, {"classes": parsed["label"]}),
            "row_scores": classification(examples, {"scores": row}),
            "double_scores": classification(examples, {"scores": tf.cast(scores, tf.float64)}),
            "float_classes": classification(examples, {"classes": scores}),
            "few_scores": classification(examples, {"scores": scores[:1]}),
            "three_names": classification(
                examples, {"classes": tf.concat([names, names], axis=1), "scores": scores}
            ),
            "no_classes": classification(examples, {"outputs": scores}),
            "three_outputs": classification(
                examples, {"classes": names, "scores": scores, "more": row}
            ),
            "other_input": _definition({"x": examples}, {"scores": scores}, CLASSIFY),
            "two_inputs": _definition(
                {"inputs": examples, "other": other}, {"scores": scores}, CLASSIFY
            ),
            "row": regression(examples, {"outputs": row}),
            "column": regression(examples, {"outputs": x}),
            "wide": regression(examples, {"outputs": scores}),
            "cube": regression(examples, {"outputs": scores[:, :, tf.newaxis]}),
            "integers": regression(examples, {"outputs": tf.cast(row, tf.int64)}),
            "few": regression(examples, {"outputs": row[:1]}),
            "two_outputs": regression(examples, {"outputs": row, "more": row}),
            "no_outputs": regression(examples, {"scores": row}),
            "elsewhere": regression(other, {"outputs": tf.strings.to_number(other)}),
            "features": _definition({"inputs": examples}, predicted),
        }
        builder = v1.saved_model.Builder(str(folder / str(VERSION)))
        builder.add_meta_graph_and_variables(session, ["serve"], definitions)
        builder.save()
    return folder


def classification(inputs, outputs):
    return _definition({"inputs": inputs}, outputs, CLASSIFY)


def regression(inputs, outputs):
    return _definition({"inputs": inputs}, outputs, REGRESS)


def _definition(
    inputs, outputs, method_name=v1.saved_model.signature_constants.PREDICT_METHOD_NAME
):
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {name: info(tensor) for name, tensor in inputs.items()},
        {name: info(tensor) for name, tensor in outputs.items()},
        method_name,
    )
