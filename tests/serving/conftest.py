"""A model that is saved once, and a server that runs for all tests."""

import shutil

import pytest
from serving_clients import running, stubs_of
from serving_models import VERSION, save_model


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folder of y = 0.5 x + 2, version 123."""
    return save_model(tmp_path_factory.mktemp("half_plus_two"))


@pytest.fixture
def model_copy(saved, tmp_path):
    """Another folder with the same version, to be changed."""
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="session")
def server(saved):
    """A server with default limits, apart from those that tests would wait for."""
    with running(
        saved, {"Version_Label": VERSION}, max_request_bytes=1 << 20, read_timeout=1.0
    ) as server:
        yield server


@pytest.fixture(scope="session")
def stubs(server):
    with stubs_of(server) as made:
        yield made
