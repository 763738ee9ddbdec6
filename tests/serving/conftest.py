"""A saved model, servers shared by all tests, and a way to hold back runs of the model."""

import contextlib
import resource
import shutil
import threading

import pytest
from serving_clients import GUARD, eventually, rest, running, stubs_of
from serving_models import (
    VERSION,
    ParsingAffine,
    save_model,
    save_odd_examples,
    save_tensorflow_1,
)

from rwgen.serving.models.servable import Servable
from rwgen.serving.models.versions import ServedModel


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folder of the model y = 0.5 x + 2, version 123."""
    return save_model(tmp_path_factory.mktemp("half_plus_two"))


@pytest.fixture
def model_copy(saved, tmp_path):
    """A copy of the model that a test may change."""
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="session")
def server(saved):
    """A server with default limits, except for smaller requests."""
    with running(saved, {"Version_Label": VERSION}, max_request_bytes=1 << 20) as server:
        yield server


@pytest.fixture(scope="session")
def impatient(saved):
    """A server with a short read timeout, for requests that are never completed."""
    with running(saved, read_timeout=0.2, max_request_bytes=1 << 20) as server:
        yield server


@pytest.fixture(scope="session")
def stubs(server):
    with stubs_of(server) as made:
        yield made


@pytest.fixture(scope="session")
def old(tmp_path_factory):
    """Folder of a model of TensorFlow 1. Its asset was moved away, as on another machine."""
    folder = save_tensorflow_1(tmp_path_factory.mktemp("old"), ["zero", "one", "two"])
    (folder / "words.txt").unlink()
    return folder


@pytest.fixture(scope="session")
def old_server(old):
    with running(old, {"Version_Label": VERSION}) as server:
        yield server


@pytest.fixture(scope="session")
def new_server(tmp_path_factory):
    """A server with a model of TensorFlow 2 that has signatures for Classify and Regress."""
    folder = save_model(tmp_path_factory.mktemp("new"), kind=ParsingAffine)
    with running(folder, {"Version_Label": VERSION}) as server:
        yield server


@pytest.fixture(scope="session")
def odd_server(tmp_path_factory):
    """A server with signatures for Classify and Regress that are unusual or wrong."""
    folder = save_odd_examples(tmp_path_factory.mktemp("odd"))
    with running(folder, max_request_bytes=1 << 20) as server:
        yield server


class Held:
    """Holds back the runs of some signatures until they are released."""

    def __init__(self):
        self.signatures = {"slow", "large"}
        self._entered = threading.Semaphore(0)
        self._released = threading.Event()

    def run(self, signature):
        if signature in self.signatures:
            self._entered.release()
            assert self._released.wait(GUARD)

    def wait_for_run(self):
        """Return when a run has begun."""
        assert self._entered.acquire(timeout=GUARD)

    def release(self):
        self._released.set()

    @contextlib.contextmanager
    def released_at_end(self):
        """Release the runs at the end of the context, before the server is stopped."""
        try:
            yield
        finally:
            self.release()


@pytest.fixture
def held(monkeypatch):
    """Runs of the signatures `slow` and `large` block until the test releases them."""
    held, run = Held(), Servable.run

    def run_later(servable, signature, inputs):
        held.run(signature.name)
        return run(servable, signature, inputs)

    monkeypatch.setattr(Servable, "run", run_later)
    yield held
    held.release()


@pytest.fixture
def wait_for_polls(monkeypatch):
    """Waits until the folders of a model have been scanned a number of times."""
    finished, refresh = [], ServedModel.refresh

    def counted(model):
        refresh(model)
        finished.append(model)

    monkeypatch.setattr(ServedModel, "refresh", counted)

    def wait(count=3):
        # The first of these scans may have begun before the call.
        target = len(finished) + count + 1
        eventually(lambda: len(finished) >= target)

    return wait


@pytest.fixture
def still_answers(server, stubs):
    """Check after a test that the server still answers and has not allocated much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert stubs.y([2.0]) == [3.0]
    assert rest(server, "GET", "/v1/models/hp2")[0] == 200
    # Kilobytes. What Python and TensorFlow allocate themselves is a small part of it.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
