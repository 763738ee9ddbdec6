"""The documents agree with the program: every example is run."""

import contextlib
import re
import shlex
import subprocess

import pytest
from documents import ROOT, SMALL, blocks, served

from rwgen.cli.main import main
from rwgen.probe.architectures import model_names
from rwgen.serving.flags import _FLAGS

README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def shell_lines(document=README):
    return [line for block in blocks("sh", document) for line in block.strip().splitlines()]


def rwgen_commands(document=README):
    inline = re.findall(r"`(rwgen (?:style|texture|invert) [^`]* -o [^`]*)`", document)
    return [line for line in shell_lines(document) if line.startswith("rwgen ")] + inline


@pytest.mark.slow
def test_every_rwgen_command_of_the_readme_runs(clone, capsys, cheap_commands):
    """Run in the README's order, as later commands use files of earlier ones, at small sizes."""
    commands = rwgen_commands()
    assert {shlex.split(command)[1] for command in commands} == {*SMALL, "serve"}
    with contextlib.ExitStack() as stack:
        run_all(commands, stack, clone, capsys)


@pytest.mark.slow
def test_every_command_and_example_about_serving_runs(clone, capsys, eager):
    commands = rwgen_commands(SERVING)
    assert {shlex.split(command)[1] for command in commands} == {"export", "serve", "features"}
    with contextlib.ExitStack() as stack:
        at_ports = run_all(commands, stack, clone, capsys)
        for code in blocks("python", SERVING):
            exec(at_ports(code), {})


def run_all(commands, stack, folder, capsys):
    """Run commands in order, and the server of `rwgen serve` in this process in the meantime."""
    at_ports = str
    for command in commands:
        words = shlex.split(at_ports(command))[1:]
        if words[0] == "serve":
            at_ports = stack.enter_context(served(folder / words[1]))
            continue
        assert main([*words, *SMALL[words[0]]]) == 0, (command, capsys.readouterr().err)
        assert (folder / words[words.index("-o") + 1]).exists()
    return at_ports


def test_every_python_example_of_the_readme_runs(clone):
    for code in blocks("python", README):
        exec(code, {})


def test_every_option_that_the_documents_name_exists(capsys):
    known = set()
    for command in (*SMALL, "serve", "inspect"):
        assert main([command, "--help"]) == 0
        known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    own = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    named = set(re.findall(r"`(--[a-z-]+)", own))
    assert named
    assert named <= known


def test_commands_of_all_documents_have_options_that_exist(capsys):
    """Including commands that take too long to run; names of architectures are checked too."""
    found = {}
    for document in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]:
        text = document.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in rwgen_commands(text):
            words = shlex.split(line)[1:]
            found.setdefault(words[0], []).append(words[1:])
    assert {"build", "probe", "reproduce"} <= set(found)
    for command, calls in found.items():
        assert main([command, "--help"]) == 0
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        given = {word for words in calls for word in words if word.startswith("--")}
        given = {word.split("=")[0].replace("--no-", "--") for word in given}
        assert given <= known, command
    names = [name for words in found["probe"] for name in words[: words.index("--image")]]
    assert "resnet50" in names
    assert {name for name in names if not name.endswith(".keras")} <= set(model_names())


def test_continuous_integration_runs_the_readmes_test_command():
    (command,) = (line for line in shell_lines() if line.endswith("tox"))
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert command in script.splitlines()


def test_links_and_pictures_of_the_documents_exist():
    for document in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]:
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


def test_the_architecture_describes_every_room_of_the_package():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| rooms") :].split("\n\n")[0]
    described = {name.rstrip("/") for name in re.findall(r"`([a-z_]+/?)`", table)}
    rooms = {path.stem for path in (ROOT / "rwgen").iterdir() if path.suffix in ("", ".py")}
    assert rooms - {"__init__", "__pycache__"} == described - {"rest", "rpc", "models"}


def test_every_threat_has_a_test():
    rows = re.findall(r"^\| .* \| .* \| (`.*::.*`) \|$", SERVING, flags=re.MULTILINE)
    tests = [test for row in rows for test in re.findall("`(.*?)`", row)]
    assert len(rows) > 15
    assert len(tests) > len(rows)
    for test in tests:
        path, _, name = test.partition("::")
        folder = ROOT if "/" in path else ROOT / "tests" / "serving"
        assert f"def {name}(" in (folder / path).read_text(encoding="utf-8"), test


def test_every_flag_that_is_not_refused_is_described():
    described = set(
        re.findall(r"`(\w+)`", SERVING.partition("| flag | effect |")[2].partition("All others")[0])
    )
    accepted = {name for name, flag in _FLAGS.items() if flag.only is None}
    assert accepted <= described
    assert not described & {name for name, flag in _FLAGS.items() if flag.only is not None}
