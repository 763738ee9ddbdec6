"""REST: paths, bodies, JSON."""
