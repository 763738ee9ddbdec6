"""The ranVGG: topology, recipes, weights, Keras model and features."""
