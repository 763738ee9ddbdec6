"""The modules of a reproduction import one way, and planning costs no TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rwgen.reproduction

LEVELS = (
    {"quality", "report", "comparison", "pictures", "scale"},
    {"parts", "drawing"},
    {"store"},
    {"estimate", "make", "setting"},
    {"commands", "inversions", "order", "page"},
    {"convergence", "publish", "styles", "textures", "variation"},
    {"figures"},
    {"run"},
)
LEVEL_OF = {module: level for level, modules in enumerate(LEVELS) for module in modules}
FOLDER = Path(rwgen.reproduction.__file__).parent


def own_imports(module):
    names = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.rpartition(".")[2] for name in names if name.startswith("rwgen.reproduction.")}


def test_every_module_has_its_level():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*LEVEL_OF, "__init__"}


@pytest.mark.parametrize("module", sorted(LEVEL_OF))
def test_modules_import_only_from_levels_below(module):
    for other in own_imports(module):
        assert LEVEL_OF[other] < LEVEL_OF[module], f"{module} imports {other}"


def test_the_run_imports_tensorflow_only_to_make_parts():
    code = (
        "import sys, rwgen.reproduction.run; print({'tensorflow', 'matplotlib'} & {*sys.modules})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
