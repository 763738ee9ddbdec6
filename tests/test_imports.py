"""Imports go one way, cost nothing where they need not, and the public names are there."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rwgen

ROOT = Path(__file__).parent.parent
LEVELS = (
    {"errors", "palette"},
    {
        "architecture",
        "device",
        "client_config",
        "export_config",
        "graph_errors",
        "manifest",
        "seeds",
        "preprocess",
        "probe_config",
        "solution",
    },
    {"recipe", "images", "losses", "memory"},
    {"config", "networks"},
    {
        "grpc_transport",
        "evaluation_config",
        "initializers",
        "model_zoo",
        "reinitialize",
        "lbfgs",
        "rest_transport",
        "warmup",
        "checkpoint",
        "rematerialize",
        "trained",
    },
    {"client", "search"},
    {"optimize", "parameterization", "winograd"},
    {"vgg", "features", "weighting", "scales", "image_search"},
    {
        "baselines",
        "differences",
        "held_out",
        "rescale",
        "signatures",
        "task_network",
        "whitening",
    },
    {"metrics", "objectives", "readers"},
    {"evaluation", "export", "feature_sources", "tasks", "workers"},
    {"probe", "selection"},
    {"probe_plot"},
)
LEVEL_OF = {module: level for level, modules in enumerate(LEVELS) for module in modules}
MODULES = {path.stem: path for path in (ROOT / "rwgen").glob("*.py") if path.stem != "__init__"}


def imported(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_has_its_level():
    assert set(MODULES) == set(LEVEL_OF)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_import_only_from_levels_below(module):
    own = {name.split(".")[1] for name in imported(MODULES[module]) if name.startswith("rwgen.")}
    for other in own:
        assert other != "cli"
        assert LEVEL_OF[other] < LEVEL_OF[module], f"{module} imports {other}"


@pytest.mark.parametrize(
    ("package", "users"),
    [("PIL", {"images"}), ("tensorflow_probability", {"optimize", "lbfgs"}), ("typer", set())],
)
def test_a_package_is_imported_only_where_it_belongs(package, users):
    found = {
        name
        for name, path in MODULES.items()
        if any(item.split(".")[0] == package for item in imported(path))
    }
    assert found == users


def test_losses_and_the_optimizer_know_nothing_of_networks_or_files():
    for module in ("losses", "optimize", "lbfgs", "search"):
        own = {name for name in imported(MODULES[module]) if name.startswith("rwgen.")}
        modules = {name.split(".")[1] for name in own}
        assert modules <= {"checkpoint", "config", "errors", "lbfgs", "search", "solution"}


@pytest.mark.parametrize("code", ["import rwgen", "import rwgen.cli.main", "rwgen.RwgenError"])
def test_tensorflow_and_keras_wait_until_they_are_needed(code):
    check = (
        "import sys, rwgen\n"
        + code
        + "\nprint('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", check], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "False"]


def test_public_names_resolve_and_are_described():
    listed = {name for names in rwgen._MODULES.values() for name in names}
    assert sorted(rwgen.__all__) == sorted(listed)
    assert len(rwgen.__all__) == len(set(rwgen.__all__))
    for name in rwgen.__all__:
        assert getattr(rwgen, name).__doc__
    tree = ast.parse((ROOT / "rwgen" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name for node in block.body for alias in node.names}
    assert typed == listed
    with pytest.raises(AttributeError, match="no attribute"):
        _ = rwgen.no_such_name
