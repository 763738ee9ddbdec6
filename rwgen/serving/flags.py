"""The flags of TensorFlow Serving's `tensorflow_model_server`, as settings of the server here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rwgen.errors import InvalidInputError
from rwgen.serving.config import METRICS_PATH, ServerConfig, TlsConfig
from rwgen.serving.model_config import read_text_proto

Settings = dict[str, Any]
"""Fields of a `ServerConfig`."""

Values = Mapping[str, str]
"""Values of flags by name, as text."""

PORTS = ("port", "rest_api_port")
"""The flags of which free ports are chosen for the program of TensorFlow Serving."""

_MAY_BE_NEGATIVE = ("load_retry_interval_micros",)

DEFAULT_MODEL = "default"
"""Name of the model at `--model_base_path`, unless `--model_name` is given."""


@dataclass(frozen=True)
class _Flag:
    """A flag.

    Attributes:
        kind: type of its values.
        settings: returns the settings for a value; None for a flag that has another effect.
        only: the values that change nothing here; others are refused. None for any value.
    """

    kind: type[bool] | type[int] | type[float] | type[str]
    settings: Callable[[Any], Settings] | None = None
    only: tuple[bool | int | float | str, ...] | None = None


def _field(kind: type[bool] | type[int] | type[str], name: str) -> _Flag:
    return _Flag(kind, lambda value: {name: value})


def _refused(kind: type[bool] | type[int] | type[float] | type[str], *only: Any) -> _Flag:
    return _Flag(kind, only=only)


def _port(name: str) -> _Flag:
    return _Flag(int, lambda port: {name: port or None})


def _seconds(name: str, unit: float = 1.0) -> _Flag:
    # Zero stands for no repetition, or no limit.
    return _Flag(int, lambda value: {name: value * unit if value else None})


_FLAGS = {
    # What to serve. `rwgen serve` reads these itself.
    "model_name": _Flag(str),
    "model_base_path": _Flag(str),
    "model_config_file": _field(str, "model_config_file"),
    "model_config_file_poll_wait_seconds": _seconds("config_poll_interval"),
    # Where to listen.
    "port": _port("grpc_port"),
    "rest_api_port": _port("rest_port"),
    "grpc_socket_path": _field(str, "grpc_socket"),
    "grpc_channel_arguments": _Flag(str, lambda text: {"grpc_options": _grpc_options(text)}),
    "ssl_config_file": _Flag(str, lambda path: {"tls": _tls(path)}),
    "rest_api_enable_cors_support": _field(bool, "enable_cors"),
    "rest_api_timeout_in_ms": _seconds("rest_timeout", 1e-3),
    "monitoring_config_file": _Flag(str, lambda path: {"metrics_path": _metrics_path(path)}),
    # How to load models, and to run them.
    "file_system_poll_wait_seconds": _seconds("poll_interval"),
    "max_num_load_retries": _field(int, "max_load_retries"),
    "load_retry_interval_micros": _Flag(
        int, lambda micros: {"load_retry_interval": max(0, micros) / 1e6}
    ),
    "allow_version_labels_for_unavailable_models": _field(bool, "allow_unavailable_labels"),
    "tensorflow_intra_op_parallelism": _field(int, "intra_op_threads"),
    "tensorflow_inter_op_parallelism": _field(int, "inter_op_threads"),
    "tensorflow_session_parallelism": _Flag(
        int,
        lambda count: {"intra_op_threads": count, "inter_op_threads": count} if count else {},
    ),
    "enable_batching": _field(bool, "enable_batching"),
    "batching_parameters_file": _Flag(str, lambda path: _batching(path)),
    # Hints about resources, which decide about nothing here.
    "rest_api_num_threads": _Flag(int),
    "grpc_max_threads": _Flag(int),
    "num_load_threads": _Flag(int),
    "num_unload_threads": _Flag(int),
    "flush_filesystem_caches": _Flag(bool),
    "remove_unused_fields_from_bundle_metagraph": _Flag(bool),
    "num_tflite_pools": _Flag(int),
    "num_tflite_interpreters_per_pool": _Flag(int),
    "skip_initialize_tpu": _Flag(bool),
    # What cannot be honored, apart from some values.
    "enable_grpc_healthcheck_service": _refused(bool, True),
    "enable_model_warmup": _refused(bool, True),
    "enable_per_model_batching_parameters": _refused(bool, False),
    "enable_profiler": _refused(bool, False),
    "enable_serialization_as_tensor_content": _refused(bool, False),
    "enable_signature_method_name_check": _refused(bool, False),
    "force_allow_any_version_labels_for_unavailable_models": _refused(bool, False),
    "mixed_precision": _refused(str),
    "num_request_iterations_for_warmup": _refused(int, 0, 1),
    "per_process_gpu_memory_fraction": _refused(float, 0.0),
    "platform_config_file": _refused(str),
    "prefer_tflite_model": _refused(bool, False),
    "saved_model_tags": _refused(str, "serve"),
    "tensorflow_session_config_file": _refused(str),
    "thread_pool_factory_config_file": _refused(str),
    "use_alts_credentials": _refused(bool, False),
    "use_tflite_model": _refused(bool, False),
    "xla_cpu_compilation_enabled": _refused(bool, False),
    "xla_gpu_compilation_enabled": _refused(bool, False),
}


def split_flags(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Separate TensorFlow Serving's flags from other arguments.

    Accepted are `--flag=value`, `--flag value`, and for booleans `--flag` and `--noflag`. A flag
    without a value counts as not given; of several values, the last one holds.

    Args:
        arguments: a command line.

    Returns:
        The other arguments, and the values of the flags by name.

    Raises:
        InvalidInputError: a flag has no value, or one that is not of its type.
    """
    others: list[str] = []
    values: dict[str, str] = {}
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            others += [argument, *left]
            break
        name, equals, text = argument.removeprefix("--").partition("=")
        negated = name.removeprefix("no")
        if not argument.startswith("--"):
            others.append(argument)
        elif name in _FLAGS:
            if not equals:
                text = "true" if _FLAGS[name].kind is bool else next(left, "")
            values.pop(name, None)
            if text or not equals:
                _value(name, text)
                values[name] = text
        elif negated in _FLAGS and _FLAGS[negated].kind is bool and not equals:
            values[negated] = "false"
        else:
            others.append(argument)
    return others, values


def settings_of(values: Values, *, embedded: bool) -> Settings:
    """Return the settings that flags stand for.

    Args:
        values: values of flags by name, from `split_flags`.
        embedded: whether they are for the embedded server. Otherwise only those of `PORTS` count:
            TensorFlow Serving itself reads the others.

    Raises:
        InvalidInputError: the embedded server cannot honor a value, or a file that a flag names is
            invalid.
    """
    settings: Settings = {}
    for name, flag in _FLAGS.items():  # in the order in which one takes precedence over another
        if name not in values or not (embedded or name in PORTS):
            continue
        value = _value(name, values[name])
        if flag.only is not None and value not in flag.only:
            accepted = " or ".join(map(_text, flag.only)) or "no such flag"
            raise InvalidInputError(
                f"--{name}: expected {accepted}, because the embedded server cannot honor it. "
                f"Received: {values[name]!r:.100}"
            )
        if flag.settings is not None:
            settings |= _checked(name, flag.settings(value))
    if embedded and "batching_parameters_file" in values and not settings.get("enable_batching"):
        raise InvalidInputError(
            "--batching_parameters_file: expected --enable_batching=true with it. Received: none"
        )
    return settings


def _checked(name: str, settings: Settings) -> Settings:
    """Check that settings are in range, in the name of their flag."""
    try:
        replace(ServerConfig(rest_port=0, grpc_port=0), **settings)
    except InvalidInputError as error:
        text = str(error) if name.endswith("_file") else str(error).partition(": ")[2]
        raise InvalidInputError(f"--{name}: {text}") from None
    return settings


def _value(name: str, text: str) -> bool | int | float | str:
    kind = _FLAGS[name].kind
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is int and re.fullmatch(r"[0-9]{1,18}", text):
        return int(text)
    if kind is int and name in _MAY_BE_NEGATIVE and re.fullmatch(r"-[0-9]{1,18}", text):
        return int(text)
    if kind is float and re.fullmatch(r"[0-9]*\.?[0-9]*", text) and text.strip("."):
        return float(text)
    if kind is str and text:
        return text
    kinds = {bool: "true or false", int: "a whole number from 0", float: "a number"}
    expected = kinds.get(kind, "a value")
    raise InvalidInputError(f"--{name}: expected {expected}. Received: {text!r:.100}")


def _text(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _grpc_options(text: str) -> tuple[tuple[str, int | str], ...]:
    options: list[tuple[str, int | str]] = []
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InvalidInputError(
                "--grpc_channel_arguments: expected NAME=VALUE, separated by commas. "
                f"Received: {text!r:.100}"
            )
        options.append((key, int(value) if re.fullmatch(r"-?[0-9]{1,9}", value) else value))
    return tuple(options)


def _tls(path: str) -> TlsConfig:
    config = read_text_proto(path, _message("SSLConfig"))
    for name in ("server_key", "server_cert"):
        if not getattr(config, name):
            raise InvalidInputError(f"{path}: expected a {name}. Received: none")
    if config.client_verify and not config.custom_ca:
        raise InvalidInputError(
            f"{path}: expected custom_ca, the certificates of authorities, with client_verify. "
            "Received: none"
        )
    return TlsConfig(
        key=config.server_key.encode(),
        certificate=config.server_cert.encode(),
        client_ca=config.custom_ca.encode() if config.client_verify else None,
    )


def _metrics_path(path: str) -> str | None:
    config = read_text_proto(path, _message("MonitoringConfig")).prometheus_config
    return (config.path or METRICS_PATH) if config.enable else None


def _batching(path: str) -> Settings:
    parameters = read_text_proto(path, _message("BatchingParameters"))
    if parameters.pad_variable_length_inputs:
        raise InvalidInputError(
            f"{path}: expected no pad_variable_length_inputs, because the embedded server never "
            "pads inputs. Received: true"
        )
    fields = {
        "max_batch_size": "max_batch_size",
        "max_enqueued_batches": "max_queued_requests",
        "num_batch_threads": "batch_threads",
    }
    settings: Settings = {
        key: getattr(parameters, name).value
        for name, key in fields.items()
        if parameters.HasField(name)
    }
    if parameters.HasField("batch_timeout_micros"):
        settings["batch_timeout"] = parameters.batch_timeout_micros.value / 1e6
    return settings


_INT, _BOOL, _TEXT = "int64", "bool", "string"
_INT_VALUE, _BOOL_VALUE = "google.protobuf.Int64Value", "google.protobuf.BoolValue"

_MESSAGES: dict[str, dict[str, str]] = {
    "SSLConfig": {
        "server_key": _TEXT,
        "server_cert": _TEXT,
        "custom_ca": _TEXT,
        "client_verify": _BOOL,
    },
    "PrometheusConfig": {"enable": _BOOL, "path": _TEXT},
    "MonitoringConfig": {"prometheus_config": "rwgen.flags.PrometheusConfig"},
    "BatchingParameters": {
        "max_batch_size": _INT_VALUE,
        "batch_timeout_micros": _INT_VALUE,
        "max_enqueued_batches": _INT_VALUE,
        "num_batch_threads": _INT_VALUE,
        "pad_variable_length_inputs": _BOOL,
        # Hints about the sizes of batches, which change no answer.
        "allowed_batch_sizes": _INT,
        "thread_pool_name": "google.protobuf.StringValue",
        "enable_large_batch_splitting": _BOOL_VALUE,
        "max_execution_batch_size": _INT_VALUE,
    },
}
"""Types of the fields of messages that no package on PyPI contains."""


def _message(name: str) -> Any:
    """Return the class of a message for text format, in which fields have names, not numbers."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    field_type = descriptor_pb2.FieldDescriptorProto
    scalars = {
        _INT: field_type.TYPE_INT64,
        _BOOL: field_type.TYPE_BOOL,
        _TEXT: field_type.TYPE_STRING,
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="rwgen/flags.proto",
        package="rwgen.flags",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for message, fields in _MESSAGES.items():
        entry = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            added = entry.field.add(name=field, number=number)
            repeated = field == "allowed_batch_sizes"
            added.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind in scalars:
                added.type = scalars[kind]
            else:
                added.type, added.type_name = field_type.TYPE_MESSAGE, f".{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"rwgen.flags.{name}"))
