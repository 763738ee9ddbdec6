"""A model that is saved once, and a server that runs for all tests."""

import resource
import shutil

import pytest
from serving_clients import rest, running, stubs_of
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


@pytest.fixture
def still_answers(server, stubs):
    """After each test the server answers, and has not taken much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert stubs.y([2.0]) == [3.0]
    assert rest(server, "GET", "/v1/models/hp2")[0] == 200
    # Kilobytes; what Python and TensorFlow keep for themselves is a small part of it.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
