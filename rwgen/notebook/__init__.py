"""For notebooks: style transfer in one call, and a result that displays itself."""
