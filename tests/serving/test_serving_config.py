"""Settings are validated, and cheap to import."""

import sys

import pytest

import rwgen.serving
from rwgen import InvalidInputError
from rwgen.serving import ModelConfig, ServerConfig, TlsConfig


@pytest.mark.parametrize(
    "values",
    [
        {"host": ""},
        {"rest_port": -1},
        {"grpc_port": 65536},
        {"rest_port": True},
        {"rest_port": 8500, "grpc_port": 8500},
        {"rest_port": 8500},  # the default of gRPC
        {"enable_batching": 1},
        {"enable_cors": "yes"},
        {"max_batch_size": 0},
        {"batch_threads": 0},
        {"max_queued_requests": 0},
        {"max_concurrent_requests": 1.5},
        {"max_request_bytes": 2**31},
        {"max_pending_bytes": 1},
        {"batch_timeout": -1},
        {"request_timeout": 0},
        {"read_timeout": float("nan")},
        {"drain_timeout": float("inf")},
        {"poll_interval": "1"},
        {"rest_port": None, "grpc_port": None},
        {"grpc_socket": ""},
        {"grpc_options": (("grpc.max_connection_age_ms", 1.5),)},
        {"tls": "key.pem"},
        {"rest_timeout": 0},
        {"intra_op_threads": -1},
        {"inter_op_threads": 1.0},
        {"poll_interval": 0},
        {"config_poll_interval": -1},
        {"model_config_file": 3},
        {"wait_for_models": 1},
        {"max_load_retries": -1},
        {"load_retry_interval": -0.1},
        {"allow_reload": None},
        {"allow_unavailable_labels": "no"},
        {"metrics_path": "metrics"},
        {"metrics_path": "/a b"},
    ],
)
def test_configurations_are_checked(values):
    with pytest.raises(InvalidInputError, match=next(iter(values))):
        ServerConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "a:b"},
        {"name": "a\nb"},
        {"base_path": ""},
        {"version_labels": {"": 1}},
        {"version_labels": {"stable": -1}},
        {"version_labels": ["stable"]},
        {"latest": 0},
        {"versions": (-1,)},
        {"versions": [1]},
    ],
)
def test_model_configurations_are_checked(values):
    with pytest.raises(InvalidInputError, match=next(iter(values))):
        ModelConfig(**{"name": "hp2", "base_path": "models", **values})


@pytest.mark.parametrize("name", ["key", "certificate", "client_ca"])
def test_certificates_are_checked_and_no_secret_is_shown(name):
    values = {"key": b"SECRET", "certificate": b"c", "client_ca": b"a"}
    assert "SECRET" not in repr(TlsConfig(**values))
    for wrong in ("SECRET", b""):
        with pytest.raises(InvalidInputError, match=name) as caught:
            TlsConfig(**{**values, name: wrong})
        assert "SECRET" not in str(caught.value)


def test_each_interface_may_have_any_free_port():
    assert ServerConfig(rest_port=0, grpc_port=0).rest_port == 0


def test_configurations_need_no_tensorflow(fresh_process):
    code = "import sys, rwgen.serving; print('tensorflow' in sys.modules, 'grpc' in sys.modules)"
    assert fresh_process(code) == "False False"


def test_without_its_packages_the_way_to_install_them_is_told(monkeypatch):
    for module in ("server", "listeners"):
        monkeypatch.delitem(sys.modules, f"rwgen.serving.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(InvalidInputError, match="uvicorn") as caught:
        _ = rwgen.serving.Server
    assert "rwgen[serve]" in str(caught.value)
    with pytest.raises(AttributeError):
        _ = rwgen.serving.none
