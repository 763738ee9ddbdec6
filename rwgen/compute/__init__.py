"""Where and how features are computed: device, memory, Winograd, kept, recomputed or in tiles."""
