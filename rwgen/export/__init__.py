"""SavedModels: what is written, and what it says of itself."""
