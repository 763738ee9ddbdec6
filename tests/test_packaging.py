"""Files in the wheel, built directly and by way of the source distribution."""

import configparser
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
SUFFIXES = {".py", ".pyi", ".json", ".j2", ".css", ".html"}
BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"

VERSIONS = [found.version for found in importlib.metadata.distributions(name="setuptools")]

pytestmark = pytest.mark.skipif(
    all(int(version.partition(".")[0]) < 77 for version in VERSIONS),
    reason="setuptools of the extra rwgen[test] is not installed",
)


def build(folder, step):
    """Run a step of the build backend in a folder; return the file that it made."""
    output = folder / "dist"
    result = subprocess.run(
        [sys.executable, "-P", "-c", BUILD, step, output],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return output / result.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def listed():
    """Files of the checkout that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip("not a git checkout")
    return sorted(name for name in result.stdout.split("\0") if name and (ROOT / name).exists())


@pytest.fixture(scope="module")
def checkout(listed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    for name in listed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def sdist(checkout):
    return build(checkout, "build_sdist")


@pytest.fixture(scope="module", params=["checkout", "sdist"])
def wheel(request, checkout, tmp_path_factory):
    folder = checkout
    if request.param == "sdist":
        folder = tmp_path_factory.mktemp("sdist")
        with tarfile.open(request.getfixturevalue("sdist")) as archive:
            archive.extractall(folder, filter="data")
        (folder,) = folder.iterdir()
    with zipfile.ZipFile(build(folder, "build_wheel")) as archive:
        yield archive


def package_files(listed):
    """Code and data by their place in the package; `rwgen/cli` is a link to `cli`, for example."""
    for name in map(PurePosixPath, listed):
        inside = name if name.parts[0] == "rwgen" else PurePosixPath("rwgen") / name
        linked = (ROOT / inside).exists() and not (ROOT / inside).is_symlink()
        if linked and (name.suffix in SUFFIXES or name.name == "py.typed"):
            yield str(inside)


def test_the_wheel_holds_the_package_and_nothing_else(wheel, listed):
    expected = set(package_files(listed))
    assert {"rwgen/py.typed", "rwgen/__init__.pyi", "rwgen/reproduction/page.css"} <= expected
    assert {"rwgen/cli/main.py", "rwgen/savedmodels/ranvgg19.json"} <= expected
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert sorted(names) == sorted(expected)


def test_the_files_are_those_of_the_checkout(wheel, listed):
    for name in package_files(listed):
        assert wheel.read(name) == (ROOT / name).read_bytes()


def test_the_program_and_the_licence_come_with_it(wheel):
    (folder,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(f"{folder}/entry_points.txt").decode())
    assert {name: dict(scripts[name]) for name in scripts.sections()} == {
        "console_scripts": {"rwgen": "rwgen.cli.main:main"}
    }
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert "\nLicense-File: LICENSE\n" in metadata
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
