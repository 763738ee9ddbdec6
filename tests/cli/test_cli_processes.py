"""What needs a process of its own: pipes, terminals, Ctrl-C, and what libraries print."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Call = Callable[..., Any]
RWGEN = [sys.executable, "-m", "rwgen.cli.main"]
INVERT = ("--layer", "conv1_1", "--size", "48")


@pytest.fixture(scope="module")
def piped(pictures: Any) -> subprocess.CompletedProcess[bytes]:
    """One run from a pipe into a pipe."""
    return subprocess.run(
        [*RWGEN, "invert", "-", *INVERT, "-o", "-", "--iterations", "2"],
        input=pictures.content.read_bytes(),
        capture_output=True,
        timeout=600,
    )


def test_an_image_is_piped_in_and_a_png_out(
    piped: subprocess.CompletedProcess[bytes],
) -> None:
    assert piped.returncode == 0
    with Image.open(io.BytesIO(piped.stdout)) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (48, 36))
        assert json.loads(image.text["rwgen"])["inputs"][0]["path"] == "-"


def test_a_short_run_prints_one_line_where_no_terminal_is(
    piped: subprocess.CompletedProcess[bytes],
) -> None:
    *_, last = piped.stderr.decode().splitlines()
    start = "rwgen: wrote a PNG to standard output, 48x36 pixels, after 2 iterations in "
    assert last.startswith(start)
    assert re.search(r"\d s, loss \d[\d.e+-]*$", last), last


def test_a_piped_image_is_made_again_by_another_process(
    piped: subprocess.CompletedProcess[bytes],
    call: Call,
    pictures: Any,
    tmp_path: Path,
    read_pixels: Call,
) -> None:
    made, named = tmp_path / "made.png", tmp_path / "named.png"
    made.write_bytes(piped.stdout)
    again = call("invert", "--from", made, "-o", "-", "-q", stdin=pictures.content.read_bytes())
    assert (again.code, again.err) == (0, "")
    assert again.out == piped.stdout
    assert call("invert", pictures.content, "--from", made, "-o", named).code == 0
    np.testing.assert_array_equal(read_pixels(named), read_pixels(made))


@pytest.fixture(scope="module")
def shown(pictures: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What two runs print on a terminal; the second one is quiet."""
    pty = pytest.importorskip("pty")
    program = f"""
import sys
from rwgen.cli.main import main
arguments = sys.argv[1:]
assert main(arguments) == 0
print("{"=" * 8}", file=sys.stderr)
assert main([*arguments, "--quiet", "--force"]) == 0
"""
    out = tmp_path_factory.mktemp("terminal") / "out.png"
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program, "invert", str(pictures.content), *INVERT, "-o", str(out),
         "--iterations", "30"],
        stderr=terminal,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:  # fmt: skip
        os.close(terminal)
        seen = b""
        while True:
            try:
                part = os.read(controller, 65536)
            except OSError:  # what Linux reports once nobody has the terminal open
                break
            if not part:
                break
            seen += part
        os.close(controller)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert process.returncode == 0, seen
    return seen.decode().split("=" * 8)


def test_a_terminal_shows_loss_and_remaining_time(shown: list[str]) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown[0])
    assert re.search(r"\d+/30 loss \d[\d.e+-]* +\d+:\d\d:\d\d", text), text
    assert re.search(r"targets .*0/30", text), text
    assert re.search(r"compiling .*0/30", text), text
    # The estimate, one line that is drawn anew and cleared in the end, and what was written.
    assert text.count("\n") <= 3
    assert re.search(r"rwgen: wrote \S+out\.png, 48x36 pixels, after \d+ iterations in .*\n$", text)
    assert re.match(r"rwgen: memory: about [\d.]+ [GM]iB of [\d.]+ GiB\r?\n", text), text


def test_quiet_prints_nothing_on_a_terminal(shown: list[str]) -> None:
    assert shown[1].strip() == ""


def interrupt(arguments: list[object], when: Callable[[int], bool]) -> tuple[int, bytes, bytes]:
    """Run `rwgen`, send Ctrl-C as soon as `when` says so; exit code and what was printed."""
    with subprocess.Popen(
        [*RWGEN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            deadline = time.monotonic() + 600
            while not when(process.pid):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            printed, errors = process.communicate(timeout=600)
        finally:
            process.kill()
    return process.returncode, printed, errors


def test_control_c_ends_a_long_run_with_its_best_image(pictures: Any, tmp_path: Path) -> None:
    out, history = tmp_path / "out.png", tmp_path / "history.csv"
    code, printed, errors = interrupt(
        ["style", pictures.content, pictures.style, "-o", out, "--size", 32, "--content-layer",
         "conv1_1", "--style-layer", "conv2_1", "--octaves", 0, "--iterations", 100_000,
         "--save-every", 1, "--history", history, "--json"],
        lambda _: (tmp_path / "out-000001.png").exists(),
    )  # fmt: skip
    assert code == 130
    last = errors.decode().splitlines()[-1]
    assert last.startswith("rwgen: interrupted after "), errors
    assert f"wrote the best image so far, {out}, 32x24 pixels, loss " in last
    values = json.loads(printed)
    assert values["stop_reason"] == "interrupted"
    assert 1 <= values["iterations"] < 100_000
    assert values["loss"] < values["initial_loss"]
    with Image.open(out) as image:
        image.load()
        assert image.size == (32, 24)
    last = history.read_text().splitlines()[-1].split(",")
    assert (int(last[0]), float(last[3])) == (values["iterations"], values["loss"])
    intermediate = {f"out-{number:06d}.png" for number in range(1, values["iterations"] + 1)}
    assert {path.name for path in tmp_path.iterdir()} == {"out.png", "history.csv", *intermediate}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_control_c_while_tensorflow_starts_writes_nothing(pictures: Any, tmp_path: Path) -> None:
    result = interrupt(
        ["invert", pictures.content, *INVERT, "-o", tmp_path / "out.png", "--json"],
        lambda number: "/tensorflow/" in Path(f"/proc/{number}/maps").read_text(),
    )
    assert result == (130, b"", b"")
    assert list(tmp_path.iterdir()) == []
