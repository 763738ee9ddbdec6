"""Exit codes of the `rwgen` program, besides 0 for success."""

EXIT_FAILED = 1
"""A run that failed, or that could not do all that was asked of it."""

EXIT_USAGE = 2
"""An invalid call."""

EXIT_INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT, as in shells."""
