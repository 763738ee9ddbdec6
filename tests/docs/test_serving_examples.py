"""The files in examples/serving parse, and agree with each other and with `rwgen serve`."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from rwgen.serving.config import METRICS_PATH, ModelConfig, ServerConfig
from rwgen.serving.flags import settings_of, split_flags
from rwgen.serving.model_config import read_models
from rwgen.serving.tensorflow_server import batching_config_text, write_configuration

FOLDER = Path(__file__).parents[2] / "examples" / "serving"


def read(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def test_the_model_config_is_tf_servings():
    message = text_format.Parse(read("models.config"), model_server_config_pb2.ModelServerConfig())
    (model,) = message.model_config_list.config
    assert (model.name, model.base_path) == ("features", "/models/features")
    assert model.model_version_policy.latest.num_versions == 1


def test_batching_and_monitoring_are_what_rwgen_serve_asks_for():
    lines = [line for line in read("batching.config").splitlines() if not line.startswith("#")]
    assert lines == batching_config_text(ServerConfig()).splitlines()
    assert re.search(r'path: "(.*)"', read("monitoring.config"))[1] == METRICS_PATH


@pytest.fixture(params=["compose.yaml", "kubernetes.yaml"])
def container(request):
    documents = list(yaml.safe_load_all(read(request.param)))
    if request.param == "compose.yaml":
        (service,) = documents[0]["services"].values()
        mounts = {volume.split(":")[1] for volume in service["volumes"]}
        ports = {int(port.rpartition(":")[2]) for port in service["ports"]}
        return service["entrypoint"], service["command"], mounts, ports
    deployment, service = documents
    assert [document["kind"] for document in documents] == ["Deployment", "Service"]
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert service["spec"]["clusterIP"] == "None"  # a name for all replicas, see docs/serving.md
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in spec["volumes"]
    }
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    for port in service["spec"]["ports"]:
        assert named[port["targetPort"]] == port["port"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/features"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    return container["command"], container["args"], mounts, set(named.values())


def test_rwgen_serve_takes_the_arguments_of_the_containers(container):
    _, arguments, _, ports = container
    here = [argument.replace("=/config/", f"={FOLDER}/") for argument in arguments]
    others, flags = split_flags([*here, f"--batching_parameters_file={FOLDER}/batching.config"])
    assert others == []
    config = ServerConfig(**settings_of({**flags, "enable_batching": "true"}, embedded=True))
    assert replace(config, model_config_file=None) == ServerConfig(enable_batching=True)
    assert {config.rest_port, config.grpc_port} == ports
    assert read_models(flags["model_config_file"]) == (
        ModelConfig(name="features", base_path="/models/features"),
    )


def test_containers_start_the_server_with_flags_that_it_has(container, tmp_path):
    program, arguments, mounts, ports = container
    assert program == ["tensorflow_model_server"]
    flags = dict(argument[2:].split("=") for argument in arguments)
    assert ports == {int(flags["port"]), int(flags["rest_api_port"])}
    known = {
        argument[2:].split("=")[0]
        for argument in write_configuration(tmp_path, ServerConfig(), [], {})
    }
    assert set(flags) <= known
    for path in (value for value in flags.values() if value.startswith("/")):
        assert str(Path(path).parent) in mounts
        assert (FOLDER / Path(path).name).is_file()
