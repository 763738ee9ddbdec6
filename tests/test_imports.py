"""Imports on demand, and public names."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def loaded(code, *packages):
    """Return which of some packages a fresh interpreter has loaded after running code."""
    code += f"\nimport sys; print(*({set(packages)!r} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import rwgen",
        "import rwgen; rwgen.RwgenError",
        "import rwgen.cli.main",
        "import rwgen.evaluation, rwgen.metrics, rwgen.probe",
        "import rwgen.reproduction.run",
        "import rwgen.serving.config, rwgen.serving.tensorflow_server",
        "import rwgen.export.config, rwgen.client.config, rwgen.compute.memory",
    ],
)
def test_tensorflow_and_keras_wait_until_they_are_needed(code):
    assert loaded(code, "tensorflow", "keras", "matplotlib") == set()


def test_noise_and_baselines_load_no_optimizer():
    assert "tensorflow_probability" not in loaded(
        "import rwgen.baselines, rwgen.noise", "tensorflow_probability", "tensorflow"
    )


def test_files_are_written_without_pillow():
    assert loaded("import rwgen.files, rwgen.optimize.checkpoint", "PIL") == set()


@pytest.mark.parametrize("package", ["", "evaluation", "metrics", "probe"])
def test_public_names_resolve_and_are_described(package):
    module = importlib.import_module(f"rwgen.{package}".rstrip("."))
    stub = ROOT / "rwgen" / package / "__init__.pyi"
    nodes = ast.parse(stub.read_text(encoding="utf-8")).body
    typed = {
        alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert set(module.__all__) == typed
    for name in typed:
        assert getattr(module, name).__doc__
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_documented_modules_are_importable():
    from rwgen.baselines import texture_baselines
    from rwgen.evaluation import evaluate_texture
    from rwgen.metrics import gram_distance
    from rwgen.probe import probe_layer

    assert all(map(callable, (texture_baselines, evaluate_texture, gram_distance, probe_layer)))
