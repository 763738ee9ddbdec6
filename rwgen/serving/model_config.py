"""Models as TensorFlow Serving's users write them: a `ModelServerConfig` in text format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rwgen.errors import InvalidInputError
from rwgen.serving.config import ModelConfig

PLATFORM = "tensorflow"
"""The only platform of models."""


def read_models(path: str) -> tuple[ModelConfig, ...] | None:
    """Read the models in a file, see `models_of`.

    Raises:
        InvalidInputError: the file cannot be read, or is not such a configuration.
    """
    from tensorflow_serving.config import model_server_config_pb2

    config = read_text_proto(path, model_server_config_pb2.ModelServerConfig)
    try:
        return models_of(config)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None


def read_text_proto(path: str, message_class: Any) -> Any:
    """Read a message in protocol buffers' text format.

    Args:
        path: file to read.
        message_class: class of the message.

    Raises:
        InvalidInputError: the file cannot be read, or does not contain such a message.
    """
    from google.protobuf import text_format

    try:
        text = Path(path).read_bytes().decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"expected a readable file. Received: {path!r} ({reason})"
        ) from None
    message = message_class()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        # The error may quote the file, which may contain a key.
        unknown = re.search(r'has no field named "(\w+)"', str(error))
        problem = f"the unknown field {unknown[1]}" if unknown else "something else"
        line, column = error.GetLine(), error.GetColumn()
        where = "" if line is None else f" in line {line}, column {column}"
        raise InvalidInputError(
            f"{path}: expected a {message_class.DESCRIPTOR.name} in text format. "
            f"Received: {problem}{where}"
        ) from None
    return message


def models_of(config: Any) -> tuple[ModelConfig, ...] | None:
    """Return the models of a configuration.

    Args:
        config: a `ModelServerConfig` message.

    Returns:
        The models, or None for an empty message, which asks for no change.

    Raises:
        InvalidInputError: the configuration is invalid, or needs what no server here can do.
    """
    kind = config.WhichOneof("config")
    if kind is None:
        return None
    if kind != "model_config_list":
        raise InvalidInputError(f"expected a model_config_list. Received: {kind}")
    models = tuple(_model_of(entry) for entry in config.model_config_list.config)
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError(f"Illegal to list model {name} multiple times in config list")
    return models


def _model_of(entry: Any) -> ModelConfig:
    from tensorflow_serving.config import model_server_config_pb2

    name, policy = entry.name, entry.model_version_policy
    old_type = entry.model_type != model_server_config_pb2.MODEL_TYPE_UNSPECIFIED
    if old_type and entry.model_platform:
        raise InvalidInputError("Illegal setting both model_type(deprecated) and model_platform.")
    if not old_type and not entry.model_platform:
        raise InvalidInputError(
            "Illegal setting neither model_type(deprecated) nor model_platform."
        )
    known = {PLATFORM: True, "": entry.model_type == model_server_config_pb2.TENSORFLOW}
    if not known.get(entry.model_platform, False):
        platform = entry.model_platform or "OTHER"
        raise InvalidInputError(f"Model {name} requests unsupported platform {platform}")
    if not Path(entry.base_path).is_absolute():
        # A URI is not absolute either: models are read from the file system of this machine.
        raise InvalidInputError(
            f"Expected model {name} to have an absolute path; got base_path()={entry.base_path}"
        )
    if entry.HasField("logging_config"):
        raise InvalidInputError(
            f"logging_config: expected none, because requests are not logged. Received: {name}'s"
        )
    latest: int | None = 1
    versions: tuple[int, ...] = ()
    choice = policy.WhichOneof("policy_choice")
    if choice == "latest":
        latest = max(1, policy.latest.num_versions)
    elif choice == "all":
        latest = None
    elif choice == "specific":
        versions = tuple(policy.specific.versions)
        if not versions:
            raise InvalidInputError(
                f"specific: expected one or more versions of {name}. Received: none"
            )
    return ModelConfig(
        name=name,
        base_path=entry.base_path,
        version_labels=dict(entry.version_labels),
        latest=latest,
        versions=versions,
    )


def model_config_text(models: Sequence[ModelConfig]) -> str:
    """Return a `ModelServerConfig` in text format that TensorFlow Serving accepts."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    message = model_server_config_pb2.ModelServerConfig()
    message.model_config_list.SetInParent()
    for model in models:
        entry = message.model_config_list.config.add()
        entry.name = model.name
        entry.base_path = str(Path(model.base_path).resolve())
        entry.model_platform = PLATFORM
        for label, version in model.version_labels.items():
            entry.version_labels[label] = version
        policy = entry.model_version_policy
        if model.versions:
            policy.specific.versions.extend(model.versions)
        elif model.latest is None or model.version_labels:
            # TensorFlow Serving has no policy for the latest versions plus labeled ones.
            policy.all.SetInParent()
        elif model.latest > 1:
            policy.latest.num_versions = model.latest
    text: str = text_format.MessageToString(message)
    return text
