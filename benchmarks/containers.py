"""Size of what the Dockerfiles install: the virtual environment that the last stage copies.

For each file in `docker/`, the command of its first stage that installs the package is run with
another folder as the environment. Recorded are the bytes of its files, the largest packages, and
the bytes that gzip leaves of them, which is about what a registry transfers. The base image comes
on top.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import write_record

ROOT = Path(__file__).resolve().parent.parent
INSTALL = re.compile(r"^RUN python -m venv (\S+) && (.+)$", re.MULTILINE)
LARGEST = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    sizes = {}
    for file in sorted((ROOT / "docker").glob("*.Dockerfile")):
        sizes[file.name] = _size(file.read_text(encoding="utf-8"), options.python)
        print(file.name, sizes[file.name], flush=True)
    write_record(options.output, {"sizes": sizes})


def _size(text: str, python: str) -> dict[str, Any]:
    found = INSTALL.search(text)
    if found is None:
        raise SystemExit("expected a stage that installs the package into a virtual environment")
    with tempfile.TemporaryDirectory() as folder:
        context, environment = Path(folder, "src"), Path(folder, "environment")
        files = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        for name in filter(None, files.split("\0")):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name, follow_symlinks=False)
        subprocess.run([python, "-m", "venv", str(environment)], check=True)
        command = found[2].replace(found[1], str(environment))
        subprocess.run(command, shell=True, cwd=context, check=True, stdout=subprocess.DEVNULL)
        packages = {
            path.name: _bytes(path)
            for path in next(environment.glob("lib/python*/site-packages")).iterdir()
            if path.is_dir()
        }
        largest = sorted(packages, key=packages.__getitem__, reverse=True)[:LARGEST]
        archive = Path(folder, "environment.tar.gz")
        subprocess.run(["tar", "-czf", str(archive), str(environment)], check=True)
        return {
            "bytes": _bytes(environment),
            "compressed_bytes": archive.stat().st_size,
            "largest_packages": {name: packages[name] for name in largest},
        }


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
