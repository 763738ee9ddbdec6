"""Read documents, and run their commands at small cost."""

import contextlib
import re
from pathlib import Path

from rwgen.serving import ModelConfig, Server, ServerConfig

ROOT = Path(__file__).parents[2]
SMALL = {
    "style": ["--size", "40", "--iterations", "2"],
    "texture": ["--size", "40x40", "--source-size", "40", "--iterations", "2"],
    "invert": ["--size", "40", "--iterations", "2", "--parameterization", "pixel"],
    "evaluate": ["--size", "48"],
    "probe": ["--size", "32", "--layers", "conv1", "--iterations", "1"],
    "reproduce": ["8"],
    "export": ["--layers", "pool1"],
    "features": ["--size", "40"],
}
"""Options that make a command cheap, appended to its own."""


def blocks(language, document):
    return re.findall(rf"```{language}\n(.*?)```", document, flags=re.DOTALL)


def fenced_blocks(document):
    """Return language and text of every fenced block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", document, flags=re.DOTALL | re.MULTILINE)


@contextlib.contextmanager
def served(folder):
    """Run the embedded server; yields a function that replaces the usual ports with its ports."""
    models = [ModelConfig(name=folder.name, base_path=folder)]
    with Server(ServerConfig(rest_port=0, grpc_port=0), models) as server:
        ports = {"8500": server.grpc_port, "8501": server.rest_port}
        yield lambda text: re.sub(
            r"localhost:(850[01])", lambda match: f"127.0.0.1:{ports[match[1]]}", text
        )
