"""The server's modules import one way, and those that hold settings or plain data cost nothing."""

import ast
from pathlib import Path

import pytest

import rwgen.serving

LEVELS = (
    {"config", "status", "logs"},
    {"admission", "connections", "folders", "metrics", "spec", "tensorflow_server"},
    {"batching", "json_response", "json_values", "rest_bodies", "tensor_proto"},
    {"json_request", "servable"},
    {"predict", "versions"},
    {"grpc_calls", "manager"},
    {"grpc_services", "rest_paths"},
    {"listeners", "rest"},
    {"server"},
)
LEVEL_OF = {module: level for level, modules in enumerate(LEVELS) for module in modules}
FOLDER = Path(rwgen.serving.__file__).parent
WITHOUT_TENSORFLOW = {
    *("admission", "batching", "config", "connections", "folders", "json_request"),
    *("json_response", "json_values", "logs", "metrics", "rest_bodies", "spec", "status"),
    "tensorflow_server",
}


def imported(module):
    names = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


@pytest.mark.parametrize("module", sorted(LEVEL_OF))
def test_modules_import_only_from_levels_below(module):
    prefix = "rwgen.serving."
    own = {name.removeprefix(prefix) for name in imported(module) if name.startswith(prefix)}
    for other in own:
        assert LEVEL_OF[other] < LEVEL_OF[module], f"{module} imports {other}"
    others = {name for name in imported(module) if name.startswith("rwgen.")}
    allowed = {"rwgen.errors", "rwgen.graph_errors", "rwgen.warmup"}
    assert others - {prefix + name for name in own} <= allowed


def test_every_module_has_its_level():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*LEVEL_OF, "__init__"}


@pytest.mark.parametrize("module", sorted(WITHOUT_TENSORFLOW))
def test_tensorflow_is_imported_only_where_it_is_needed(module):
    pending, seen = {module}, set()
    while pending:
        name = pending.pop()
        seen.add(name)
        found = imported(name)
        assert not any(item.split(".")[0] in ("tensorflow", "keras") for item in found)
        pending |= {item.rpartition(".")[2] for item in found if "rwgen.serving." in item} - seen
