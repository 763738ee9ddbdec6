"""Export of networks as SavedModels, and their manifests."""
