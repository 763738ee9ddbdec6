"""`rwgen studio`: a page to make styles on."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from rwgen.cli import resources
from rwgen.cli.options import Quiet
from rwgen.cli.stderr import native_stderr_hidden, say
from rwgen.compute.device import AUTO
from rwgen.errors import InvalidInputError

LOOPBACK = "127.0.0.1"


def studio(
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder of results, of their inputs, and of the states of stopped searches.",
        ),
    ] = "studio",
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; 0.0.0.0 lets everybody who reaches this machine in.",
        ),
    ] = LOOPBACK,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Port of the page; 0 picks a free one."
        ),
    ] = 0,
    memory_limit: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Memory that a search may take, such as 12GiB or 800MB.",
            show_default="what is free",
        ),
    ] = "",
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|gpu:N", help="Device to compute on.")
    ] = AUTO,
    quiet: Quiet = False,
) -> None:
    """Open a page to drop two images on, and to try settings.

    Example: rwgen studio --output results
    """
    for package in ("gradio", "starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise InvalidInputError(
                f"expected {package} to be installed. Received: no such package; "
                'pip install "rwgen[studio]"'
            )
    folder = Path(output).absolute()
    if not output or (folder.exists() and not folder.is_dir()):
        raise InvalidInputError(f"--output: expected a folder. Received: {output!r}")
    limit = resources.memory_limit(memory_limit, device)
    port = free_port(host, port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it would ask other machines for versions
    with native_stderr_hidden():
        from rwgen.cli.studio_jobs import Jobs
        from rwgen.cli.studio_page import STYLE, studio_page, studio_theme
        from rwgen.view.server import has_display

    page = studio_page(Jobs(folder, limit, device))
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        inbrowser=has_display(),
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        footer_links=[],
        allowed_paths=[str(folder)],
        theme=studio_theme(),
        css=STYLE,
    )
    if not quiet:
        say(f"studio: {address}")
        say(f"results are written to {folder}; Ctrl-C ends it")
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def free_port(host: str, port: int) -> int:
    """A port that can be listened on; Gradio would leave sockets open if it could not.

    Args:
        host: an address of this machine.
        port: the port, or 0 for any.

    Raises:
        InvalidInputError: this machine has no such address, or the port is taken.
    """
    try:
        with socket.create_server((host, port)) as server:
            return int(server.getsockname()[1])
    except OSError as error:
        raise InvalidInputError(
            "--host, --port: expected an address of this machine that is free. "
            f"Received: {host}:{port} ({error.strerror})"
        ) from None
