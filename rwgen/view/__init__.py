"""A page on this machine that shows a search while it runs (`--view`)."""
