"""The guide's pages are followed literally: every block is run, in order, in one folder."""

import contextlib
import doctest
import io
import re
import shlex
import subprocess

import pytest
from documents import ROOT, SMALL, fenced_blocks, served

from rwgen.cli.main import main

PAGES = sorted((ROOT / "docs" / "guide").glob("*.md"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
CHEAP = {
    **SMALL,
    "style": [*SMALL["style"], "--content-layer", "conv1_1", "--style-layer", "conv1_1"],
    "texture": [*SMALL["texture"], "--layer", "conv1_1"],
    "invert": [*SMALL["invert"], "--size", "48"],
    "build": ["--size", "32", "--iterations", "2", "--candidates", "2", "--layers", "conv1_1"],
    "probe": ["--size", "32", "--iterations", "1", "--seeds", "1"],
    "reproduce": [],
    "morph": ["--size", "32", "--iterations", "1", "--steps", "2", "--layer", "conv1_1"],
    "export": [],
    "batch": [],
}
CHEAPER_CODE = (
    (r"size=128,\s+iterations=100", "size=40, iterations=2"),
    (r"max_iterations=\d+", "max_iterations=2"),
    (r"SIDE = \d+", "SIDE = 48"),
    (r"InversionConfig\(", "InversionConfig(whiten_features=False, "),
)


class Reader:
    """Follows a page with one folder, one Python session and at most one server."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.names, self.at_ports, self.printed = {}, str, ""

    def sh(self, text):
        """Run commands that must succeed; those of rwgen are made cheap."""
        for line in text.replace("\\\n", "").strip().splitlines():
            words = shlex.split(self.at_ports(line))
            if words[0] != "rwgen":
                subprocess.run(["bash", "-c", line], check=True, timeout=60)
            elif words[1] == "serve":
                self.at_ports = self.stack.enter_context(served(self.folder / words[2]))
            else:
                code, printed = output_of([*words[1:], *CHEAP[words[1]]])
                assert code == 0, (line, printed)

    def csv(self, text):
        """Write jobs, made cheap."""
        header, *rows = text.splitlines()
        lines = [f"{header},iterations", *(f"{row},2" for row in rows)]
        (self.folder / "jobs.csv").write_text("\n".join(lines).replace(",128,", ",40,"))

    def toml(self, text):
        """Write a file of options."""
        (self.folder / "look.toml").write_text(text)

    def console(self, text):
        """Run one command unchanged, and compare all that it prints."""
        command, expected = text.split("\n", 1)
        program, *words = shlex.split(command.removeprefix("$ "))
        assert program == "rwgen"
        code, printed = output_of(words)
        check_output(expected, printed, command)
        assert (code != 0) == any(line.startswith("rwgen: ") for line in printed.splitlines())

    def python(self, text):
        for pattern, cheap in CHEAPER_CODE:
            text = re.sub(pattern, cheap, text)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(self.at_ports(text), self.names)
        self.printed = out.getvalue()

    def text(self, expected):
        """Compare what the preceding Python block printed."""
        check_output(expected, self.printed, "python")


def output_of(words):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(words)
    return code, printed.getvalue()


def check_output(expected, printed, what):
    assert doctest.OutputChecker().check_output(expected, printed, FLAGS), (what, printed)


def test_there_is_a_page_for_each_audience():
    assert [page.stem for page in PAGES] == ["research", "serving", "settings", "shell"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page, clone, monkeypatch, request):
    monkeypatch.setenv("COLUMNS", "80")  # of the tables
    if page.stem != "serving":  # which optimizes nothing, and trains a model faster with graphs
        request.getfixturevalue("cheap_commands")
    document = page.read_text(encoding="utf-8")
    found = fenced_blocks(document)
    assert 2 * len(found) == document.count("```")
    assert {language for language, _ in found} >= {"sh", "console"}
    with contextlib.ExitStack() as stack:
        reader = Reader(clone, stack)
        for language, text in found:
            getattr(reader, language)(text)


def test_a_wrong_line_of_output_is_noticed(clone):
    reader = Reader(clone, contextlib.ExitStack())
    reader.console("$ rwgen --version\nrwgen ...\n")
    with pytest.raises(AssertionError, match="version"):
        reader.console("$ rwgen --version\nrwgen 99\n")
