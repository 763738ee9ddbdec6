"""What every judgement of images is made with; needs neither TensorFlow nor Keras."""

HELD_OUT_SEEDS = (20160613, 20160614, 20160615)
"""Seeds of the networks that judge; none is the default of a network that makes images."""

MINIMUM_SIDE = 32
"""Shortest side, in pixels, of an image that every metric can be computed of: patches of 7 pixels
at a quarter of the size need 28, and more than one position at conv5_1 needs 32."""
