"""Exit codes of the `rwgen` program, besides 0 for success."""

import signal

EXIT_FAILED = 1
"""A run that failed, or that could not do all that was asked of it."""

EXIT_USAGE = 2
"""An invalid call."""

EXIT_SIGNALED = 128
"""After a signal, plus its number, as in shells: 143 for SIGTERM."""

EXIT_INTERRUPTED = EXIT_SIGNALED + signal.SIGINT
"""After Ctrl-C: 130."""
