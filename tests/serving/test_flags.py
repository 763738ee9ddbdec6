"""TensorFlow Serving's flags: how they are written, what they set, and what is refused."""

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from rwgen import InvalidInputError
from rwgen.serving import ServerConfig, TlsConfig
from rwgen.serving.flags import _FLAGS, settings_of, split_flags

LISTED = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
batching_parameters_file enable_per_model_batching_parameters model_config_file
model_config_file_poll_wait_seconds model_name model_base_path num_load_threads num_unload_threads
max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds
flush_filesystem_caches tensorflow_session_parallelism tensorflow_session_config_file
tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file
platform_config_file per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments
grpc_max_threads enable_model_warmup num_request_iterations_for_warmup monitoring_config_file
remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
num_tflite_interpreters_per_pool enable_signature_method_name_check xla_cpu_compilation_enabled
enable_profiler thread_pool_factory_config_file
"""
"""Flags that `tensorflow_model_server --help` lists, except `--version`."""


def config_of(*arguments):
    others, values = split_flags(arguments)
    assert others == []
    return ServerConfig(**settings_of(values, embedded=True))


def refused(*arguments):
    with pytest.raises(InvalidInputError) as caught:
        config_of(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_flag_is_known():
    assert set(LISTED.split()) <= set(_FLAGS)


def test_how_flags_are_written():
    first = ["dir", "--port=1", "--name", "n", "--rest_api_port", "2", "--enable_batching"]
    second = ["--noflush_filesystem_caches", "--enable_profiler=false", "--port=3", "--model_name="]
    others, values = split_flags([*first, *second, "-q", "--label", "a=1", "--unknown_flag=4"])
    assert others == ["dir", "--name", "n", "-q", "--label", "a=1", "--unknown_flag=4"]
    assert values == {
        "port": "3",
        "rest_api_port": "2",
        "enable_batching": "true",
        "flush_filesystem_caches": "false",
        "enable_profiler": "false",
    }
    assert split_flags(["--", "--port=1"]) == (["--", "--port=1"], {})


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("--port=9000", {"grpc_port": 9000}),
        ("--port=0", {"grpc_port": None}),
        ("--rest_api_port=9001", {"rest_port": 9001}),
        ("--rest_api_port=0", {"rest_port": None}),
        ("--grpc_socket_path=/tmp/s", {"grpc_socket": "/tmp/s"}),
        ("--rest_api_timeout_in_ms=2500", {"rest_timeout": 2.5}),
        ("--rest_api_enable_cors_support", {"enable_cors": True}),
        ("--enable_batching=true", {"enable_batching": True}),
        ("--enable_batching=false", {}),
        ("--model_config_file=/a", {"model_config_file": "/a"}),
        ("--model_config_file_poll_wait_seconds=30", {"config_poll_interval": 30.0}),
        ("--model_config_file_poll_wait_seconds=0", {}),
        ("--file_system_poll_wait_seconds=5", {"poll_interval": 5.0}),
        ("--file_system_poll_wait_seconds=0", {"poll_interval": None}),
        ("--max_num_load_retries=0", {"max_load_retries": 0}),
        ("--load_retry_interval_micros=1500000", {"load_retry_interval": 1.5}),
        ("--load_retry_interval_micros=-1", {"load_retry_interval": 0.0}),
        ("--allow_version_labels_for_unavailable_models", {"allow_unavailable_labels": True}),
        (
            "--tensorflow_session_parallelism=3",
            {"intra_op_threads": 3, "inter_op_threads": 3},
        ),
        ("--tensorflow_session_parallelism=0", {}),
        ("--tensorflow_intra_op_parallelism=2", {"intra_op_threads": 2}),
        ("--tensorflow_inter_op_parallelism=2", {"inter_op_threads": 2}),
        (
            "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.default_authority=a",
            {
                "grpc_options": (
                    ("grpc.max_connection_age_ms", 2000),
                    ("grpc.default_authority", "a"),
                )
            },
        ),
        ("--rest_api_num_threads=16", {}),
        ("--grpc_max_threads=16", {}),
        ("--num_load_threads=2", {}),
        ("--saved_model_tags=serve", {}),
        ("--per_process_gpu_memory_fraction=0.0", {}),
        ("--enable_model_warmup=true", {}),
    ],
)
def test_what_flags_set(argument, wanted):
    assert config_of(argument) == ServerConfig(**wanted)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--port=x", "--port: expected a whole number from 0. Received: 'x'"),
        ("--port=70000", "--port: expected an integer from 0 to 65535. Received: 70000"),
        ("--rest_api_port=-1", "--rest_api_port: expected a whole number from 0"),
        ("--port", "--port: expected a whole number from 0. Received: ''"),
        ("--enable_batching=1", "--enable_batching: expected true or false. Received: '1'"),
        ("--per_process_gpu_memory_fraction=x", "--per_process_gpu_memory_fraction: expected a n"),
        ("--per_process_gpu_memory_fraction=0.5", "--per_process_gpu_memory_fraction: expected 0."),
        ("--saved_model_tags=serve,tpu", "--saved_model_tags: expected serve, because the embed"),
        ("--platform_config_file=/a", "--platform_config_file: expected no such flag, because"),
        ("--enable_model_warmup=false", "--enable_model_warmup: expected true, because the embe"),
        ("--noenable_model_warmup", "--enable_model_warmup: expected true, because the embe"),
        ("--num_request_iterations_for_warmup=2", "iterations_for_warmup: expected 0 or 1, becau"),
        ("--prefer_tflite_model", "--prefer_tflite_model: expected false"),
        ("--use_alts_credentials=true", "--use_alts_credentials: expected false"),
        ("--grpc_channel_arguments=a", "--grpc_channel_arguments: expected NAME=VALUE"),
        ("--batching_parameters_file=/none", "expected a readable file. Received: '/none'"),
        ("--ssl_config_file=/none", "expected a readable file. Received: '/none'"),
        ("--monitoring_config_file=/none", "expected a readable file. Received: '/none'"),
    ],
)
def test_what_cannot_be_honored_is_refused_by_name(argument, message):
    assert message in refused(argument)


def test_for_tensorflow_serving_itself_only_ports_are_read():
    _, values = split_flags(["--port=1", "--rest_api_port=0", "--ssl_config_file=/none"])
    assert settings_of(values, embedded=False) == {"grpc_port": 1, "rest_port": None}


def written(folder, text):
    path = folder / "file"
    path.write_text(text)
    return path


def test_batching_parameters(tmp_path):
    path = written(
        tmp_path,
        "max_batch_size { value: 128 } batch_timeout_micros { value: 1500 } # a comment\n"
        "max_enqueued_batches { value: 100 } num_batch_threads { value: 8 }\n"
        'thread_pool_name { value: "a" } allowed_batch_sizes: 1 allowed_batch_sizes: 128\n',
    )
    file = f"--batching_parameters_file={path}"
    assert config_of(file, "--enable_batching") == ServerConfig(
        enable_batching=True,
        max_batch_size=128,
        batch_timeout=0.0015,
        max_queued_requests=100,
        batch_threads=8,
    )
    for arguments in ((file,), (file, "--enable_batching=false")):
        assert "expected --enable_batching=true with it" in refused(*arguments)
    for text, message in (
        ("pad_variable_length_inputs: true", "no pad_variable_length_inputs"),
        ("max_batch_size { value: 0 }", "max_batch_size: expected an integer from 1"),
        ("max_batch_size: 3", "something else in line 1"),
        ("nothing: 3", "the unknown field nothing"),
    ):
        path.write_text(text)
        assert message in refused(file, "--enable_batching")


@pytest.mark.parametrize(
    ("text", "metrics_path"),
    [
        ('prometheus_config { enable: true, path: "/m" }', "/m"),
        ("prometheus_config: { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { path: "/m" }', None),
        ("", None),
    ],
)
def test_monitoring(tmp_path, text, metrics_path):
    path = written(tmp_path, text)
    assert config_of(f"--monitoring_config_file={path}").metrics_path == metrics_path


def quoted(content):
    return f'"{text_format.text_encoding.CEscape(content, as_utf8=False)}"'


def test_certificates(tmp_path):
    key, certificate, authority = b"a key\n", b"a 'certificate'\n", b"an authority\n"
    pair = f"server_key: {quoted(key)} server_cert: {quoted(certificate)}"
    cases = {
        pair: None,
        f"{pair} custom_ca: {quoted(authority)} client_verify: false": None,
        f"{pair} custom_ca: {quoted(authority)} client_verify: true": authority,
    }
    for text, client_ca in cases.items():
        config = config_of(f"--ssl_config_file={written(tmp_path, text)}")
        assert config.tls == TlsConfig(key=key, certificate=certificate, client_ca=client_ca)
    for text, message in (
        (f"server_key: {quoted(key)}", "expected a server_cert. Received: none"),
        (f"{pair} client_verify: true", "expected custom_ca"),
        (f"server_key: {quoted(key)}x", "expected a SSLConfig in text format"),
        ("server_key: 'SECRET", "something else in line 1"),
    ):
        problem = refused(f"--ssl_config_file={written(tmp_path, text)}")
        assert message in problem
        assert "a key" not in problem
        assert "SECRET" not in problem


@settings(max_examples=60)
@given(st.sampled_from(sorted(_FLAGS)), st.text(max_size=20))
def test_any_value_is_understood_or_refused_in_one_line(name, text):
    try:
        others, values = split_flags([f"--{name}={text}"])
        settings_of(values, embedded=True)
    except InvalidInputError as error:
        message = str(error)
    else:
        message, others = "", list(others)
        assert others == []
    assert len(message.splitlines()) <= 1
