"""The three tasks: losses, weighting, objectives, coarse to fine."""
