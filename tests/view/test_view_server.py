"""The page as a browser gets it, over a socket of this machine."""

import json
import re
import socket
import threading
from urllib.parse import urlsplit

import numpy as np
import pytest
import urllib3

from rwgen.optimize.solution import Step
from rwgen.view import server
from rwgen.view.server import has_display, viewing

PIXELS = np.full((6, 8, 3), 120.0)


def step(iteration):
    return Step(iteration, iteration + 1, 9.0 - iteration, {"style": 1.0}, 0.5, 2.0)


@pytest.fixture
def pool():
    with urllib3.PoolManager() as manager:
        yield manager


@pytest.fixture
def opened(monkeypatch):
    """Addresses opened in a browser, which is none."""
    urls = []
    monkeypatch.setattr("webbrowser.open", lambda url: urls.append(url) or False)
    return urls


def view(urls, encode=lambda pixels: b"file"):
    return viewing("a.png", 5, encode, "a ü.png", urls.append)


def events_of(response):
    """Events of a stream until it ends."""
    text = b"".join(response.stream(1 << 16)).decode()
    return [json.loads(data) for data in re.findall(r"^data: (.*)$", text, flags=re.MULTILINE)]


def test_a_page_follows_a_search_to_its_end(pool, opened):
    urls, found = [], []
    with view(urls) as board:
        (url,) = urls
        response = pool.request("GET", url + "events", preload_content=False)
        assert response.headers["Content-Type"].startswith("text/event-stream")
        reader = threading.Thread(target=lambda: found.extend(events_of(response)))
        reader.start()
        assert board.await_watcher(60)
        for iteration in range(3):
            board.show(step(iteration), lambda: PIXELS)
        assert pool.request("POST", url + "stop").status == 204
        assert board.is_stopping
        board.end("wrote a.png", PIXELS)
    reader.join()
    steps = [item["iteration"] for news in found for item in news["steps"]]
    assert steps == [0, 1, 2]
    assert found[-1]["end"] == {"message": "wrote a.png", "failed": False}
    assert found[-1]["image"].startswith("data:image/jpeg")
    assert opened == []
    with pytest.raises(urllib3.exceptions.HTTPError):
        pool.request("GET", url, retries=False, timeout=60)


def test_a_copy_is_a_download(pool):
    urls, found = [], []
    with view(urls) as board:
        read = threading.Thread(target=lambda: found.append(pool.request("GET", urls[0] + "copy")))
        read.start()
        while not board._copies_wanted:
            pass
        board.show(step(1), lambda: PIXELS)
        read.join()
        (response,) = found
        assert (response.status, response.data) == (200, b"file")
        assert (
            response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20%C3%BC.png"
        )
        board.end("done", PIXELS)
        assert pool.request("GET", urls[0] + "copy").status == 409


def test_the_page_is_whole_and_for_whoever_has_the_address(pool):
    urls = []
    with view(urls):
        (url,) = urls
        parts = urlsplit(url)
        assert parts.hostname == "127.0.0.1"
        assert len(parts.path.strip("/")) >= 20
        response = pool.request("GET", url)
        html, headers = response.data.decode(), response.headers
        assert response.status == 200
        assert not re.search(r"(https?:)?//[a-z]", html.replace("http://www.w3.org/2000/svg", ""))
        (nonce,) = set(re.findall(r'nonce="([^"]+)"', html))
        policy = headers["Content-Security-Policy"]
        assert f"script-src 'nonce-{nonce}'" in policy
        assert "default-src 'none'" in policy
        assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        base = f"http://{parts.netloc}/"
        for path in ("", "events", "stop", "x" * 22 + "/", "x" * 22 + "/events"):
            assert pool.request("GET", base + path).status == 404
        assert pool.request("GET", url + "stop").status == 405
        foreign = pool.request("GET", url, headers={"Host": "pages.example"})
        assert foreign.status == 400


def test_a_failure_is_shown_and_passed_on(pool):
    urls, found = [], []

    def fail():
        with view(urls) as board:
            response = pool.request("GET", urls[0] + "events", preload_content=False)
            reader = threading.Thread(target=lambda: found.extend(events_of(response)))
            threads.append(reader)
            reader.start()
            assert board.await_watcher(60)
            raise MemoryError

    threads = []
    with pytest.raises(MemoryError):
        fail()
    threads[0].join()
    assert found[-1]["end"] == {"message": "MemoryError", "failed": True}


def test_a_browser_is_opened_where_somebody_sees_it(monkeypatch, opened):
    monkeypatch.setattr(server, "has_display", lambda: True)
    urls = []
    with view(urls):
        pass
    assert opened == urls


@pytest.mark.parametrize(
    ("terminal", "display", "platform", "expected"),
    [
        (True, ":0", "linux", True),
        (True, "", "linux", False),
        (False, ":0", "linux", False),
        (True, "", "darwin", True),
        (False, "", "win32", False),
    ],
)
def test_a_browser_needs_a_terminal_and_a_display(
    terminal, display, platform, expected, monkeypatch
):
    monkeypatch.setattr("sys.stderr", type("Stream", (), {"isatty": lambda self: terminal})())
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert has_display() == expected


def test_nobody_else_is_listened_to():
    urls = []
    with view(urls):
        port = urlsplit(urls[0]).port
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
