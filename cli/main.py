"""The `rwgen` program: commands, exit codes, and one line for every error."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from rwgen.cli.commands import CONTEXT_SETTINGS, CommandGroup
from rwgen.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from rwgen.cli.stderr import say
from rwgen.errors import InvalidInputError, RwgenError
from rwgen.version import __version__

MAX_REASON = 200
"""Number of characters of an unexpected error that are shown."""

_HELP = """Images from a VGG-19 that was never trained.

To begin: rwgen style PHOTO PAINTING

All about a command: rwgen COMMAND -h
"""

app = typer.Typer(
    name="rwgen",
    cls=CommandGroup,
    help=_HELP,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=CONTEXT_SETTINGS,
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
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show where an unexpected error arose, for a bug report."),
    ] = False,
) -> None:
    """Take the options of the program itself, and print its help without a command."""
    context.obj.debug = debug
    if context.invoked_subcommand is None:
        print(context.get_help())


@dataclass
class Call:
    """Options of the program itself.

    Attributes:
        debug: whether to show tracebacks.
    """

    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: command line without the program's name; None means `sys.argv[1:]`.

    Returns:
        The exit code: 0 for success, 1 for a failed run, 2 for an invalid call, 130 after Ctrl-C,
        143 after SIGTERM during a search.

    Raises:
        Exception: with `--debug`, an unexpected one.
    """
    call = Call()

    def work() -> Any:
        code = app(arguments, prog_name="rwgen", standalone_mode=False, obj=call)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code

    code, problem = attempt(work, lambda: call.debug)
    if problem:
        say(problem)
    return code


def attempt(work: Callable[[], Any], debug: Callable[[], bool] = lambda: False) -> tuple[int, str]:
    """Do what a command does, and turn every exception into an exit code and one line.

    Args:
        work: returns the exit code, or None for 0.
        debug: whether to raise unexpected exceptions.

    Returns:
        The exit code, see `main`, and why it is not 0; empty where the user knows.

    Raises:
        Exception: an unexpected one, if `debug`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise XLA reports every compilation
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's other programs compute with
    try:
        return int(work() or 0), ""
    except typer.TyperException as error:
        return EXIT_USAGE, f"{_usage_message(error)} (see rwgen --help)"
    except InvalidInputError as error:
        return EXIT_USAGE, str(error)
    except RwgenError as error:
        return EXIT_FAILED, str(error)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED, ""
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:
            # Files have names, so this is standard output. Python would try to write the rest at
            # exit, and print a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            message = f"expected a standard output that can be written. Received: {error.strerror}"
        # TensorFlow has its own error, which may not be imported here.
        elif isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            message = "expected enough memory for this size. Choose a smaller --size"
        elif debug():
            raise
        else:
            message = f"unexpected error: {type(error).__name__}: {str(error)[:MAX_REASON]}"
            message += "; rwgen --debug COMMAND ... shows where it arose"
        return EXIT_FAILED, message


def _usage_message(error: typer.TyperException) -> str:
    """Say what an option expects and what it received, where Typer's parser knows both."""
    parameter, cause = getattr(error, "param", None), error.__cause__
    problems: list[Any] = getattr(cause, "errors", list)()
    if parameter is None or not problems:
        return error.format_message()
    kind, received = problems[0]["type"], str(problems[0]["input"])
    limits = [parameter.min, parameter.max]
    numbers = [value for value in (*limits, parameter.default) if value is not None]
    if kind.startswith("float") or any(isinstance(value, float) for value in numbers):
        expected = "a number"
    elif kind.startswith("int") or any(isinstance(value, int) for value in numbers):
        expected = "a whole number"
    else:
        return error.format_message()
    for word, limit in zip(("from", "to"), limits, strict=True):
        expected += "" if limit is None else f" {word} {limit}"
    name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
    is_pair = "size" in name and re.fullmatch(r"\d+x\d+", received)
    hint = "; give one side, the other follows" if is_pair else ""
    return f"{name}: expected {expected}. Received: {received!r:.60}{hint}"


if __name__ == "__main__":
    sys.exit(main())
