"""Constants that all metrics share; needs neither TensorFlow nor Keras."""

HELD_OUT_SEEDS = (20160613, 20160614, 20160615)
"""Seeds of the judging networks; no shipped network that makes images has one of them."""

HELD_OUT_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
"""Layers whose Gram matrices are compared by default, of a VGG-19 of full width. They do not follow
the defaults of the tasks, so that distances of different versions can be compared."""

MINIMUM_SIDE = 32
"""Shortest side, in pixels, of an image for which all metrics exist: patches of 7 pixels at a
quarter of the size need 28, and more than one position at conv5_1 needs 32."""
