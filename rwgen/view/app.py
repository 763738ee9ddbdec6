"""The page, its events and its buttons, as an ASGI application."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from importlib import resources
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from rwgen.view.board import Board

HOSTS = ["127.0.0.1", "localhost"]
"""Names that a browser may call this machine; another one belongs to a page that rebinds its
name."""

BEAT_SECONDS = 1.0
"""Seconds without news after which a comment is sent, which finds out whether anybody is there."""

COPY_SECONDS = 120.0
"""Seconds that a copy may wait for the next step."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def view_app(board: Board, token: str, file_name: str) -> ASGIApp:
    """Make the application, whose every address begins with a secret.

    Args:
        board: What to show.
        token: The secret.
        file_name: Name of saved copies.
    """
    html = resources.files("rwgen.view").joinpath("page.html").read_text(encoding="utf-8")

    def page(_request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; img-src data:; connect-src 'self'; script-src 'nonce-{nonce}'; "
            f"style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        headers = {**_HEADERS, "Content-Security-Policy": policy}
        return HTMLResponse(html.replace("NONCE", nonce), headers=headers)

    def events(_request: Request) -> Response:
        return StreamingResponse(_events(board), media_type="text/event-stream", headers=_HEADERS)

    def stop(_request: Request) -> Response:
        board.stop()
        return Response(status_code=204, headers=_HEADERS)

    def copy(_request: Request) -> Response:
        data = board.copy(COPY_SECONDS)
        if data is None:
            return Response("the search has ended", status_code=409, headers=_HEADERS)
        disposition = f"attachment; filename*=UTF-8''{quote(file_name)}"
        headers = {**_HEADERS, "Content-Disposition": disposition}
        return Response(data, media_type="application/octet-stream", headers=headers)

    routes = [
        Route("/", page),
        Route("/events", events),
        Route("/stop", stop, methods=["POST"]),
        Route("/copy", copy),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=routes)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
    )


def _events(board: Board) -> Iterator[str]:
    """Server-sent events, until the search has ended."""
    follower = board.follow()
    try:
        ended = False
        while not ended:
            news = follower.changes(BEAT_SECONDS)
            yield f"data: {json.dumps(news)}\n\n" if news else ":\n\n"
            ended = bool(news.get("end"))
    finally:
        follower.close()
