"""Policies for versions, changed configurations, waiting for models, and retries."""

import logging
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from serving_clients import (
    GUARD,
    code_of,
    eventually,
    free,
    hp2,
    rest,
    rest_predict,
    running,
    stubs_of,
)
from serving_models import VERSION, save_model
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest

from rwgen import InvalidInputError
from rwgen.serving import ModelConfig, Server, serve_until_signal
from rwgen.serving.model_config import model_config_text
from rwgen.serving.models.servable import Servable
from rwgen.serving.models.versions import ServedModel
from rwgen.serving.status import Code, ServingError


def states(server, name="hp2"):
    status, content = rest(server, "GET", f"/v1/models/{name}")
    if status == 404:
        return {}
    return {int(entry["version"]): entry["state"] for entry in content["model_version_status"]}


def available(server, name="hp2"):
    return {version for version, state in states(server, name).items() if state == "AVAILABLE"}


@pytest.fixture(scope="module")
def three(saved, tmp_path_factory):
    """A folder of versions 1, 2 and 3, with offsets 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("three")
    for version in (1, 2, 3):
        save_model(folder, version, version)
    return folder


@pytest.fixture
def three_copy(three, tmp_path):
    return shutil.copytree(three, tmp_path / "three")


def reload_request(*models):
    request = ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    for model in models:
        entry = request.config.model_config_list.config.add(
            name=model.name, base_path=str(model.base_path), model_platform="tensorflow"
        )
        for label, version in model.version_labels.items():
            entry.version_labels[label] = version
        if model.versions:
            entry.model_version_policy.specific.versions.extend(model.versions)
        elif model.latest is None:
            entry.model_version_policy.all.SetInParent()
        else:
            entry.model_version_policy.latest.num_versions = model.latest
    return request


def reload(stubs, *models):
    response = stubs.model.HandleReloadConfigRequest(reload_request(*models), timeout=GUARD)
    assert response.status.error_code == 0


def refused(stubs, *models):
    with pytest.raises(grpc.RpcError) as caught:
        stubs.model.HandleReloadConfigRequest(reload_request(*models), timeout=GUARD)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ({"latest": 1}, {3}),
        ({"latest": 2}, {2, 3}),
        ({"latest": 9}, {1, 2, 3}),
        ({"latest": None}, {1, 2, 3}),
        ({"versions": (1, 2, 7)}, {1, 2}),
    ],
)
def test_the_policy_decides_which_versions_are_served(three, policy, served):
    with Server(free(), [hp2(three, **policy)]) as server, stubs_of(server) as stubs:
        assert available(server) == served
        assert stubs.y([2.0]) == [1.0 + max(served)]
        for version in (1, 2, 3):
            if version in served:
                assert stubs.y([2.0], version=version) == [1.0 + version]
            else:
                code = code_of(lambda v=version: stubs.y([2.0], version=v))
                assert code == grpc.StatusCode.NOT_FOUND


def test_the_latest_versions_move_on(three_copy):
    with Server(free(), [hp2(three_copy, latest=2)]) as server:
        save_model(three_copy, 4, 4)
        eventually(lambda: available(server) == {3, 4})


def test_without_polling_nothing_is_found_but_what_is_loaded_is_kept(three_copy, monkeypatch):
    settled, settle = [], ServedModel.settle

    def counted(model):
        settle(model)
        settled.append(model)

    monkeypatch.setattr("rwgen.serving.models.manager.SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(ServedModel, "settle", counted)
    with running(three_copy, poll_interval=None) as server:
        save_model(three_copy, 4, 4)
        count = len(settled)
        eventually(lambda: len(settled) > count + 3)
        assert available(server) == {3}


def test_models_come_and_go_by_rpc(saved, three):
    added = ModelConfig(name="added", base_path=three, latest=None, version_labels={})
    with running(saved) as server, stubs_of(server) as stubs:
        reload(stubs, hp2(saved), added)
        assert stubs.y([2.0], name="added") == [4.0]
        assert stubs.y([2.0]) == [3.0]
        assert available(server, "added") == {1, 2, 3}
        # Versions that are available may get labels, and a policy may leave out others.
        labels = {"stable": 1, "canary": 3}
        labeled = ModelConfig(name="added", base_path=three, versions=(1, 3), version_labels=labels)
        reload(stubs, labeled)
        assert stubs.y([2.0], name="added", label="stable") == [2.0]
        assert stubs.y([2.0], name="added", label="canary") == [4.0]
        assert available(server, "added") == {1, 3}
        assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.NOT_FOUND
        assert rest(server, "GET", "/v1/models/hp2")[0] == 404
        reload(stubs, hp2(saved))
        assert stubs.y([2.0]) == [3.0]
        reload(stubs)
        assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.NOT_FOUND


def test_a_request_in_flight_finishes_on_a_model_that_was_removed(saved, three, held):
    other = ModelConfig(name="other", base_path=three)
    with (
        running(saved) as server,
        stubs_of(server) as stubs,
        ThreadPoolExecutor(1) as pool,
        held.released_at_end(),
    ):
        slow = pool.submit(stubs.y, [[2.0, 2.0]], signature="slow")
        held.wait_for_run()
        reload(stubs, other)
        assert code_of(lambda: stubs.y([2.0])) == grpc.StatusCode.NOT_FOUND
        held.release()
        assert slow.result(GUARD) == [[3.0, 3.0]]


def test_another_folder_replaces_versions_of_the_same_number(saved, tmp_path, held):
    other = save_model(tmp_path, VERSION, offset=7.0)
    with (
        running(saved) as server,
        stubs_of(server) as stubs,
        ThreadPoolExecutor(1) as pool,
        held.released_at_end(),
    ):
        slow = pool.submit(stubs.y, [[2.0, 2.0]], signature="slow")
        held.wait_for_run()
        reload(stubs, hp2(other))
        assert stubs.y([2.0]) == [8.0]
        held.release()
        assert slow.result(GUARD) == [[3.0, 3.0]]
        # Where the new files cannot be loaded, the old ones stay.
        (tmp_path / "broken" / str(VERSION)).mkdir(parents=True)
        (tmp_path / "broken" / str(VERSION) / "saved_model.pb").write_bytes(b"\xff")
        reload(stubs, hp2(tmp_path / "broken"))
        assert stubs.y([2.0]) == [8.0]


def test_labels_need_versions_that_are_available(three):
    with Server(free(), [hp2(three, latest=2)]) as server, stubs_of(server) as stubs:
        problem = (
            "FAILED_PRECONDITION",
            "Request to assign label to version 1 of model hp2, which is not currently available "
            "for inference",
        )
        assert refused(stubs, hp2(three, latest=None, version_labels={"old": 1})) == problem
        assert available(server) == {2, 3}  # nothing has changed
        reload(stubs, hp2(three, latest=None))
        reload(stubs, hp2(three, latest=None, version_labels={"old": 1}))
        assert stubs.y([2.0], label="old") == [2.0]


def test_new_labels_may_be_allowed_for_versions_to_come(three_copy):
    with (
        Server(free(allow_unavailable_labels=True), [hp2(three_copy)]) as server,
        stubs_of(server) as stubs,
    ):
        reload(stubs, hp2(three_copy, version_labels={"next": 4, "old": 1}))
        assert stubs.y([2.0], label="old") == [2.0]
        assert code_of(lambda: stubs.y([2.0], label="next")) == grpc.StatusCode.NOT_FOUND
        # But a label that is in use stays on a version that is served.
        code, _ = refused(stubs, hp2(three_copy, version_labels={"old": 9}))
        assert code == "FAILED_PRECONDITION"
        save_model(three_copy, 4, 4)
        eventually(lambda: available(server) >= {4})
        assert stubs.y([2.0], label="next") == [5.0]


def test_requests_that_cannot_be_honored_change_nothing(saved, tmp_path):
    with running(saved) as server, stubs_of(server) as stubs:
        twice = refused(stubs, hp2(saved), hp2(saved))
        assert twice == (
            "INVALID_ARGUMENT",
            "Illegal to list model hp2 multiple times in config list",
        )
        relative = ModelConfig(name="x", base_path="relative")
        assert refused(stubs, relative)[0] == "INVALID_ARGUMENT"
        empty, call = ReloadConfigRequest(), stubs.model.HandleReloadConfigRequest
        assert code_of(lambda: call(empty, timeout=GUARD)) == grpc.StatusCode.INVALID_ARGUMENT
        assert server._manager.names == ("hp2",)
        # As in TF Serving, a model without versions is an error, but the configuration holds.
        code, details = refused(stubs, hp2(saved), ModelConfig(name="x", base_path=tmp_path / "x"))
        assert code == "UNKNOWN"
        assert details.startswith("1 model(s) did not become available: {{x: ")
        assert stubs.y([2.0]) == [3.0]
        (tmp_path / "x").mkdir()
        save_model(tmp_path / "x", 1, 5.0)
        eventually(lambda: available(server, "x") == {1})


def test_changes_by_clients_can_be_refused(saved):
    with running(saved, allow_reload=False) as server, stubs_of(server) as stubs:
        assert refused(stubs)[0] == "PERMISSION_DENIED"
        assert stubs.y([2.0]) == [3.0]


def test_a_file_that_changes_changes_the_models(saved, three, tmp_path, caplog):
    caplog.set_level(logging.INFO, "rwgen.serving")
    path = tmp_path / "models.config"
    first, second = hp2(str(saved)), ModelConfig(name="second", base_path=str(three))
    path.write_text(model_config_text([first]))
    config = free(model_config_file=str(path), config_poll_interval=0.05)

    def logged(event):
        return sum(f"event={event} " in line for line in caplog.messages)

    with Server(config, [first]) as server, stubs_of(server) as stubs:
        path.write_text(model_config_text([first, second]))
        eventually(lambda: available(server, "second") == {3})
        assert stubs.y([2.0], name="second") == [4.0]
        count = logged("reloaded")
        for broken in ("model_config_list {", "nonsense"):  # as if half written
            told = logged("config_refused")
            path.write_text(broken)
            eventually(lambda told=told: logged("config_refused") == told + 1)
        path.write_text("")
        path.write_text(model_config_text([second]))
        eventually(lambda: logged("reloaded") == count + 1)
        assert server._manager.names == ("second",)
        # The file takes precedence over what clients set.
        reload(stubs, first)
        eventually(lambda: available(server, "second") == {3})
        assert server._manager.names == ("second",)


def test_a_server_waits_for_the_first_version_before_it_listens(tmp_path, caplog):
    caplog.set_level(logging.INFO, "rwgen.serving")
    base = tmp_path / "model"
    server = Server(free(wait_for_models=True), [hp2(base)])
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(server.start)
        try:
            eventually(lambda: any("event=waiting" in line for line in caplog.messages))
            assert not starting.done()
            assert not server.is_running
            base.mkdir()
            save_model(base, 1, 1.0)
            starting.result(GUARD)
            assert rest_predict(server, [2.0]) == (200, {"predictions": [2.0]})
        finally:
            server.stop()
    assert sum("event=waiting" in line for line in caplog.messages) == 1


def test_a_signal_ends_the_wait(tmp_path, monkeypatch):
    def interrupt(level, event, **fields):
        if event == "waiting":
            signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    monkeypatch.setattr("rwgen.serving.models.manager.log", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    server = Server(free(wait_for_models=True), [hp2(tmp_path / "none")])
    assert serve_until_signal(server) == 0
    assert server.wait(0)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.fixture
def flaky(monkeypatch):
    """Loading fails as often as this list says; the number of attempts is appended."""
    left, attempts, load = [], [], Servable.__init__

    def fail(servable, *arguments):
        attempts.append(1)
        if left and left[0] > 0:
            left[0] -= 1
            raise ServingError(Code.UNAVAILABLE, "the disk is away")
        load(servable, *arguments)

    monkeypatch.setattr(Servable, "__init__", fail)
    return left, attempts


def test_a_load_that_failed_is_tried_again(saved, flaky):
    left, attempts = flaky
    left.append(3)
    config = free(wait_for_models=True, load_retry_interval=0, max_load_retries=3)
    with Server(config, [hp2(saved)]) as server, stubs_of(server) as stubs:
        assert stubs.y([2.0]) == [3.0]
    assert len(attempts) == 4


def test_it_is_not_tried_again_for_ever(saved, flaky):
    left, attempts = flaky
    left.append(99)
    config = free(wait_for_models=True, load_retry_interval=0, max_load_retries=2)
    with pytest.raises(InvalidInputError, match="the disk is away"):
        Server(config, [hp2(saved)]).start()
    assert len(attempts) == 3


def test_sessions_have_the_threads_that_were_asked_for(saved):
    with running(saved, intra_op_threads=3, inter_op_threads=2) as server:
        (served,) = server._manager._models.values()
        options = served._versions[VERSION].servable._session._config
        threads = (options.intra_op_parallelism_threads, options.inter_op_parallelism_threads)
        assert threads == (3, 2)


def test_rest_may_have_another_time_limit(saved, held):
    with (
        running(saved, rest_timeout=0.02) as server,
        stubs_of(server) as stubs,
        ThreadPoolExecutor(1) as pool,
        held.released_at_end(),
    ):
        call = pool.submit(stubs.y, [[2.0, 2.0]], signature="slow")
        held.wait_for_run()
        assert rest_predict(server, [[1.0, 2.0]], "slow")[0] == 504
        held.release()
        assert call.result(GUARD) == [[3.0, 3.0]]


def test_without_a_path_there_are_no_metrics(saved):
    with running(saved, metrics_path=None) as server:
        assert rest(server, "GET", "/monitoring/prometheus/metrics")[0] == 404
