"""The Dockerfiles: what they promise, and their commands in a fresh virtual environment."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from rwgen.cli.commands import COMMANDS, load_command

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its words, of the JSON form."""
        words = json.loads(self.text)
        assert isinstance(words, list)
        return words


def instructions(file: Path) -> list[Instruction]:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in joined if line.strip()]


def last_stage(file: Path) -> list[Instruction]:
    found = instructions(file)
    starts = [index for index, item in enumerate(found) if item.name == "FROM"]
    return found[starts[-1] :]


def one(stage: list[Instruction], name: str) -> Instruction:
    (item,) = [item for item in stage if item.name == name]
    return item


def ignored(name: str) -> bool:
    """Whether .dockerignore leaves a path out of the context; the last pattern decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        plain = pattern.removeprefix("!")
        parts = Path(name).parts
        if plain.startswith("**/"):
            matches = any(fnmatch(part, plain.removeprefix("**/")) for part in parts)
        else:
            matches = fnmatch(parts[0], plain)
        if matches:
            out = not pattern.startswith("!")
    return out


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def test_there_is_one_for_the_program_and_one_for_the_server() -> None:
    assert [file.name for file in FILES] == ["cli.Dockerfile", "server.Dockerfile"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_base_is_pinned_slim_and_of_a_tested_python(file: Path) -> None:
    bases = {item.text.split()[0] for item in instructions(file) if item.name == "FROM"}
    (base,) = bases
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-[a-z]+", base)
    assert version
    assert f":: {version[1]}\n" in setup()["metadata"]["classifiers"] + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_runs_as_a_user_without_rights(file: Path) -> None:
    stage = last_stage(file)
    user = one(stage, "USER")
    assert int(user.text) > 0
    assert f"--uid {user.text} " in one(stage, "RUN").text
    after = stage[stage.index(user) + 1 :]
    assert not {"RUN", "COPY", "ADD", "USER"} & {item.name for item in after}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_extras_and_its_program_exist(file: Path) -> None:
    config = setup()
    (install,) = [item for item in instructions(file) if "pip install" in item.text]
    extras = re.search(r'"\.\[([a-z,]+)\]"', install.text)
    assert extras
    assert set(extras[1].split(",")) <= set(config["options.extras_require"])
    scripts = config["options.entry_points"]["console_scripts"].split()
    program, *command = one(last_stage(file), "ENTRYPOINT").words
    assert program in scripts
    assert set(command) <= set(COMMANDS)


def test_the_server_listens_where_it_says() -> None:
    stage = last_stage(ROOT / "docker/server.Dockerfile")
    command = load_command("serve")
    words = one(stage, "CMD").words
    with command.make_context("serve", list(words)) as context:
        values = context.params
    ports = {str(values["grpc_port"]), str(values["rest_port"])}
    assert set(one(stage, "EXPOSE").text.split()) == ports
    assert (values["server"], values["host"]) == ("embedded", "0.0.0.0")
    assert f", {values['rest_port']})" in one(stage, "HEALTHCHECK").text


def test_the_context_holds_what_is_built_and_nothing_else() -> None:
    kept = {path.name for path in ROOT.iterdir() if not ignored(path.name)}
    assert kept == {"LICENSE", "README.md", "pyproject.toml", "setup.cfg", "cli", "rwgen",
                    "savedmodels"}  # fmt: skip
    assert ignored("rwgen/images.py") is False
    assert ignored("rwgen/cli/__pycache__/main.pyc")


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_commands_work_in_a_fresh_environment(file: Path, tmp_path: Path) -> None:
    context = tmp_path / "src"
    for path in ROOT.iterdir():
        if ignored(path.name):
            continue
        if path.is_dir():
            leave_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, context / path.name, symlinks=True, ignore=leave_out)
        else:
            context.mkdir(exist_ok=True)
            shutil.copy2(path, context)
    place = tmp_path / "opt"
    (build,) = [item.text for item in instructions(file) if "pip install" in item.text]
    # The packages that it depends on are those of this environment, so that nothing is downloaded.
    build = build.replace("/opt/rwgen", str(place)).replace("python -m", f"{sys.executable} -m")
    build = build.replace("pip install", "pip install --no-deps --no-index --no-build-isolation")
    venv, _, install = build.partition(" && ")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(shlex.split(venv), check=True, cwd=context)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "these.pth").write_text("\n".join(site.getsitepackages()))
    subprocess.run(shlex.split(install), check=True, cwd=context, env=environment)

    entry = one(last_stage(file), "ENTRYPOINT").words
    done = subprocess.run(
        [place / "bin" / entry[0], *entry[1:], "--help"],
        check=True, capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert "Usage: rwgen" in done.stdout
    where = subprocess.run(
        [place / "bin" / "python", "-c", "import rwgen.cli.main as m; print(m.__file__)"],
        check=True, capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(place)
