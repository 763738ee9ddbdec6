"""The documents say what the program does: every example in them is run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rwgen.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = {
    "style": ["--size", "40", "--iterations", "2"],
    "texture": ["--size", "40x40", "--source-size", "40", "--iterations", "2"],
    "invert": ["--size", "40", "--iterations", "2"],
}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shell_lines():
    return [line for block in blocks("sh") for line in block.strip().splitlines()]


def rwgen_commands():
    inline = re.findall(r"`(rwgen (?:style|texture|invert) [^`]* -o [^`]*)`", README)
    return [line for line in shell_lines() if line.startswith("rwgen ")] + inline


@pytest.fixture
def clone(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_rwgen_command_of_the_readme_runs(clone, capsys):
    """In the README's order: later ones use files that earlier ones made. Sizes are made small."""
    commands = rwgen_commands()
    assert {shlex.split(command)[1] for command in commands} == set(SMALL)
    for command in commands:
        words = shlex.split(command)[1:]
        assert main([*words, *SMALL[words[0]]]) == 0, (command, capsys.readouterr().err)
        assert (clone / words[words.index("-o") + 1]).exists()


@pytest.mark.slow
def test_every_python_example_of_the_readme_runs(clone):
    for code in blocks("python"):
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=300)
    assert (clone / "features" / "1" / "saved_model.pb").exists()


def test_every_option_that_the_documents_name_exists(capsys):
    known = set()
    for command in SMALL:
        assert main([command, "--help"]) == 0
        known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    own = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    named = set(re.findall(r"`(--[a-z-]+)", own))
    assert named
    assert named <= known


def test_continuous_integration_runs_the_readmes_test_command():
    (command,) = (line for line in shell_lines() if line.endswith("tox"))
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert command in script.splitlines()


def test_links_and_pictures_of_the_documents_exist():
    for document in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if "://" not in target:
                assert (document.parent / target).exists(), (document.name, target)


def test_no_picture_or_other_file_in_git_is_over_a_megabyte():
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    large = [n for n in names if (ROOT / n).is_file() and (ROOT / n).stat().st_size > 1_000_000]
    assert large == []
