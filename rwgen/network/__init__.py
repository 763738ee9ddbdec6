"""What a ranVGG is: topology, recipe, weights, Keras model, features."""
