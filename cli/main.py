"""The `rwgen` program: commands, exit codes, and one line for every error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from rwgen.cli.commands import CommandGroup
from rwgen.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from rwgen.cli.stderr import say
from rwgen.errors import InvalidInputError, RwgenError
from rwgen.version import __version__

app = typer.Typer(
    name="rwgen",
    cls=CommandGroup,
    help="Images from a VGG-19 that was never trained.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"rwgen {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def program(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Images from a VGG-19 that was never trained."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: command line without the program's name; None means `sys.argv[1:]`.

    Returns:
        The exit code: 0 for success, 1 for a failed run, 2 for an invalid call, 130 after Ctrl-C,
        143 after SIGTERM during a search.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise XLA reports every compilation
    try:
        code = app(arguments, prog_name="rwgen", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except typer.TyperException as error:
        return _report(f"{error.format_message()} (see rwgen --help)", EXIT_USAGE)
    except InvalidInputError as error:
        return _report(str(error), EXIT_USAGE)
    except RwgenError as error:
        return _report(str(error), EXIT_FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except OSError as error:  # files raise OutputError, so this is standard output
        # Python would try to write the rest at exit, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _report(
            f"expected a standard output that can be written. Received: {error.strerror}",
            EXIT_FAILED,
        )
    except Exception as error:
        # TensorFlow has its own error, which may not be imported here.
        if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":
            raise
        return _report("expected enough memory for this size. Choose a smaller --size", EXIT_FAILED)
    return int(code or 0)


def _report(message: str, code: int) -> int:
    say(message)
    return code


if __name__ == "__main__":
    sys.exit(main())
