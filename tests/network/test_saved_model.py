"""Models saved by earlier versions of rwgen."""

import zipfile

import keras
import numpy as np

from rwgen import Recipe, SeededNormal, build_network
from rwgen.network.architecture import Architecture

TINY = Architecture("tiny", ((2, 1),))

# Configuration as saved when `SeededNormal` was still defined in `rwgen.initializers`.
CONFIG = """
{"module": "keras.src.models.functional", "class_name": "Functional", "config": {"name":
"network_old", "trainable": true, "layers": [{"module": "keras.layers", "class_name":
"InputLayer", "config": {"batch_shape": [null, 8, 8, 3], "dtype": "float32", "sparse": false,
"ragged": false, "name": "image", "optional": false}, "registered_name": null, "name": "image",
"inbound_nodes": []}, {"module": "keras.layers", "class_name": "Conv2D", "config": {"name":
"conv1_1", "trainable": true, "dtype": {"module": "keras", "class_name": "DTypePolicy", "config":
{"name": "float32"}, "registered_name": null}, "filters": 2, "kernel_size": [3, 3], "strides": [1,
1], "padding": "same", "data_format": "channels_last", "dilation_rate": [1, 1], "groups": 1,
"activation": "relu", "use_bias": true, "kernel_initializer": {"module": "rwgen.initializers",
"class_name": "SeededNormal", "config": {"stddev": 0.015, "seed": 3, "layer": "conv1_1",
"variable": "kernel", "candidate": 0, "positive": false}, "registered_name":
"rwgen>SeededNormal"}, "bias_initializer": {"module": "rwgen.initializers", "class_name":
"SeededNormal", "config": {"stddev": 0.015, "seed": 3, "layer": "conv1_1", "variable": "bias",
"candidate": 0, "positive": false}, "registered_name": "rwgen>SeededNormal"},
"kernel_regularizer": null, "bias_regularizer": null, "activity_regularizer": null,
"kernel_constraint": null, "bias_constraint": null}, "registered_name": null, "build_config":
{"input_shape": [null, 8, 8, 3]}, "name": "conv1_1", "inbound_nodes": [{"args": [{"class_name":
"__keras_tensor__", "config": {"shape": [null, 8, 8, 3], "dtype": "float32", "keras_history":
["image", 0, 0]}}], "kwargs": {}}]}, {"module": "keras.layers", "class_name": "AveragePooling2D",
"config": {"name": "pool1", "trainable": true, "dtype": {"module": "keras", "class_name":
"DTypePolicy", "config": {"name": "float32"}, "registered_name": null, "shared_object_id":
139670410331472}, "pool_size": [2, 2], "padding": "valid", "strides": [2, 2], "data_format":
"channels_last"}, "registered_name": null, "name": "pool1", "inbound_nodes": [{"args":
[{"class_name": "__keras_tensor__", "config": {"shape": [null, 8, 8, 2], "dtype": "float32",
"keras_history": ["conv1_1", 0, 0]}}], "kwargs": {}}]}], "input_layers": ["image", 0, 0],
"output_layers": ["pool1", 0, 0]}, "registered_name": "Functional", "build_config":
{"input_shape": null}, "compile_config": {}}
"""


def test_a_model_loads_that_names_the_former_module_of_the_initializer(tmp_path):
    model = build_network(Recipe(name="old", seed=3), architecture=TINY, input_shape=(8, 8, 3))
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            old.writestr(name, CONFIG if name == "config.json" else new.read(name))
    loaded = keras.models.load_model(tmp_path / "old.keras")
    initializer = loaded.get_layer("conv1_1").kernel_initializer
    assert type(initializer) is SeededNormal
    redrawn = keras.models.clone_model(loaded)  # by the initializers
    kernel, bias = model.get_layer("conv1_1").get_weights()
    assert kernel.std() > 0
    for copy in (loaded, redrawn):
        for found, expected in zip(
            copy.get_layer("conv1_1").get_weights(), (kernel, bias), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
