"""Where and how features are computed: device, memory, Winograd, kept or recomputed."""
