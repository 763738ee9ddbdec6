"""New versions, labels, versions that fail or disappear, and reloading under load."""

import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
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
from tensorflow_serving.apis import prediction_log_pb2

from rwgen import InvalidInputError
from rwgen.serving import Server
from rwgen.serving.models.folders import find_versions


def states(server, version=""):
    status, content = rest(server, "GET", f"/v1/models/hp2{version}")
    assert status == 200
    return {entry["version"]: entry["state"] for entry in content["model_version_status"]}


def test_only_numbered_folders_with_a_model_are_versions(tmp_path):
    for name in ("1", "00000123", "7", "-2", "x", "٣", "9" * 30, "18446744073709551615"):
        (tmp_path / name).mkdir()
        if name != "7":
            (tmp_path / name / "saved_model.pb").touch()
    assert find_versions(tmp_path) == {1: tmp_path / "1", 123: tmp_path / "00000123"}
    assert find_versions(tmp_path / "none") == {}


def test_one_version_is_served_alone_where_the_model_names_it(model_copy):
    save_model(model_copy, 124, 5.0)
    with Server(free(), [hp2(model_copy, versions=(VERSION,))]) as server:
        assert states(server) == {str(VERSION): "AVAILABLE"}


def test_a_new_version_replaces_the_old_one_without_a_failed_or_wrong_response(model_copy):
    done = threading.Event()
    problems, counts = [], [0, 0, 0, 0]
    with running(model_copy) as server, stubs_of(server) as stubs:

        def call(number):
            value = 0
            while not done.is_set():
                value += 1
                if number % 2:
                    response = stubs.predict(np.float32([value]))
                    (y,) = response.outputs["y"].float_val
                    offset = {VERSION: 2, 124: 5}[response.model_spec.version.value]
                    wanted = {0.5 * value + offset}
                else:  # a response in JSON does not name its version
                    status, content = rest_predict(server, [value])
                    if status != 200:
                        problems.append(content)
                        return
                    (y,) = content["predictions"]
                    wanted = {0.5 * value + 2, 0.5 * value + 5}
                if y not in wanted:
                    problems.append((value, y))
                counts[number] += 1

        def safe(number):
            try:
                call(number)
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=safe, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        save_model(model_copy, 124, 5.0)
        eventually(lambda: states(server).get("124") == "AVAILABLE")
        eventually(lambda: states(server)[str(VERSION)] == "END")
        before = list(counts)
        eventually(
            lambda: problems or all(now > old + 5 for now, old in zip(counts, before, strict=True))
        )
        done.set()
        for thread in threads:
            thread.join()
        assert not problems
        assert stubs.y([2.0]) == [6.0]
        assert stubs.predict(np.float32([2.0])).model_spec.version.value == 124
        missing = code_of(lambda: stubs.y([2.0], version=VERSION))
        assert missing == grpc.StatusCode.NOT_FOUND


def test_a_request_in_flight_keeps_its_version(model_copy, held, wait_for_polls):
    with (
        running(model_copy) as server,
        stubs_of(server) as stubs,
        ThreadPoolExecutor(1) as pool,
        held.released_at_end(),
    ):
        slow = pool.submit(stubs.y, [[2.0, 2.0]], signature="slow")
        held.wait_for_run()
        save_model(model_copy, 124, 5.0)
        eventually(lambda: stubs.y([2.0]) == [6.0])
        wait_for_polls()
        assert states(server) == {"124": "AVAILABLE", str(VERSION): "UNLOADING"}
        held.release()
        assert slow.result(GUARD) == [[3.0, 3.0]]
        eventually(lambda: states(server) == {"124": "AVAILABLE", str(VERSION): "END"})


def test_labelled_versions_stay(model_copy):
    save_model(model_copy, 124, 5.0)
    labels = {"stable": VERSION, "canary": 124, "future": 125}
    with running(model_copy, labels) as server, stubs_of(server) as stubs:
        assert stubs.y([2.0]) == [6.0]
        assert stubs.y([2.0], label="stable") == [3.0]
        assert stubs.y([2.0], label="canary") == [6.0]
        assert stubs.y([2.0], version=VERSION) == [3.0]
        assert states(server, "/labels/stable") == {str(VERSION): "AVAILABLE"}
        assert code_of(lambda: stubs.y([2.0], label="future")) == grpc.StatusCode.NOT_FOUND
        save_model(model_copy, 125, 7.0)
        eventually(lambda: stubs.y([2.0]) == [8.0])
        assert stubs.y([2.0], label="future") == [8.0]
        assert stubs.y([2.0], label="stable") == [3.0]
        assert stubs.y([2.0], label="canary") == [6.0]


def test_removing_the_latest_goes_back_and_removing_the_last_is_refused(
    model_copy, caplog, wait_for_polls
):
    caplog.set_level(logging.WARNING, "rwgen.serving")
    save_model(model_copy, 124, 5.0)
    with running(model_copy) as server, stubs_of(server) as stubs:
        assert stubs.y([2.0]) == [6.0]
        shutil.rmtree(model_copy / "124")
        eventually(lambda: stubs.y([2.0]) == [3.0])
        shutil.rmtree(model_copy / str(VERSION))
        eventually(lambda: any("removal_refused" in line for line in caplog.messages))
        wait_for_polls()
        assert stubs.y([2.0]) == [3.0]
        assert states(server)[str(VERSION)] == "AVAILABLE"
        assert sum("removal_refused" in line for line in caplog.messages) == 1
        shutil.rmtree(model_copy)
        wait_for_polls()
        assert stubs.y([2.0]) == [3.0]


def test_a_version_that_cannot_be_loaded_is_reported_once_and_can_be_fixed(
    model_copy, caplog, wait_for_polls
):
    caplog.set_level(logging.INFO, "rwgen.serving")
    with running(model_copy) as server, stubs_of(server) as stubs:
        broken = model_copy / ".broken"
        shutil.copytree(model_copy / str(VERSION), broken)
        data = broken / "variables" / "variables.data-00000-of-00001"
        content = data.read_bytes()
        data.unlink()
        broken.rename(model_copy / "200")
        eventually(lambda: states(server).get("200") == "END")
        status = rest(server, "GET", "/v1/models/hp2/versions/200")[1]["model_version_status"][0]
        assert status["status"]["error_code"] != "OK"
        assert status["status"]["error_message"]
        wait_for_polls()
        attempts = [line for line in caplog.messages if 'version=200 state="LOADING"' in line]
        assert len(attempts) == 1
        assert stubs.y([2.0]) == [3.0]
        (model_copy / "200" / "variables" / "variables.data-00000-of-00001").write_bytes(content)
        eventually(lambda: states(server)["200"] == "AVAILABLE")
        assert stubs.predict(np.float32([2.0])).model_spec.version.value == 200


def warmup_record(values, signature="batched", key="x"):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "hp2", signature
    request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
    return log.SerializeToString()


def test_warm_up_requests_are_replayed_before_the_first_answer(tmp_path):
    records = [warmup_record(np.float32([number])) for number in range(3)]
    save_model(tmp_path, 1, warmup=records)
    with running(tmp_path) as server, stubs_of(server) as stubs:
        assert stubs.predict(np.float32([1.0])).outputs["run"].int64_val[0] == 4


@pytest.mark.parametrize(
    "record", [b"\xff\xff", warmup_record([1.0], key="z"), warmup_record([1.0], "none")]
)
def test_a_version_whose_warm_up_fails_is_not_served(tmp_path, record):
    save_model(tmp_path, 1, warmup=[record])
    with pytest.raises(InvalidInputError, match="warm-up request 1"):
        Server(free(), [hp2(tmp_path)]).start()
