"""Features from a server, a SavedModel or a network."""
