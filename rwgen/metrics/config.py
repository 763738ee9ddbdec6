"""Constants that all metrics share; needs neither TensorFlow nor Keras."""

HELD_OUT_SEEDS = (20160613, 20160614, 20160615)
"""Seeds of the judging networks; no shipped network that makes images has one of them."""

MINIMUM_SIDE = 32
"""Shortest side, in pixels, of an image for which all metrics exist: patches of 7 pixels at a
quarter of the size need 28, and more than one position at conv5_1 needs 32."""
