"""`ModelServerConfig` in text format: what it says, what is refused, and in which words."""

import contextlib
import re

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from rwgen import InvalidInputError
from rwgen.serving import ModelConfig
from rwgen.serving.model_config import model_config_text, models_of, read_models

FULL = """
# Three models.
model_config_list {
  config {
    name: "latest" base_path: "/models/latest" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
    version_labels { key: 'stable' value: 1 }
    version_labels { key: 'canary' value: 2 }
  }
  config: { name: "all", base_path: "/models/all", model_platform: "tensorflow",
            model_version_policy: { all: {} } }
  config {
    name: "specific" base_path: "/models/specific" model_type: TENSORFLOW
    model_version_policy { specific { versions: 42 versions: 43 } }
  }
  config { name: "plain" base_path: "/models/plain" model_platform: "tensorflow" }
}
"""


def written(folder, text):
    path = folder / "models.config"
    path.write_text(text)
    return str(path)


def test_what_a_file_says(tmp_path):
    latest, everything, specific, plain = read_models(written(tmp_path, FULL))
    assert latest == ModelConfig(
        name="latest",
        base_path="/models/latest",
        latest=2,
        version_labels={"stable": 1, "canary": 2},
    )
    assert everything == ModelConfig(name="all", base_path="/models/all", latest=None)
    assert specific == ModelConfig(name="specific", base_path="/models/specific", versions=(42, 43))
    assert plain == ModelConfig(name="plain", base_path="/models/plain", latest=1)


@pytest.mark.parametrize(
    ("text", "models"), [("", None), ("# nothing\n", None), ("model_config_list {}", ())]
)
def test_an_empty_file_asks_for_nothing_and_an_empty_list_for_no_models(tmp_path, text, models):
    assert read_models(written(tmp_path, text)) == models


def entry(
    fields, name='name: "m"', path='base_path: "/m"', platform='model_platform: "tensorflow"'
):
    return f"model_config_list {{ config {{ {name} {path} {platform} {fields} }} }}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "expected a ModelServerConfig in text format. Received: the unknown field n"),
        ("model_config_list {", "Received: something else in line 1"),
        ("model_config_list {\n config {\n nam: 'x' } }", "field nam in line 3, column 2"),
        (entry("", name='name: "a" name: "b"'), "something else in line 1"),
        (entry("", name=""), "name: expected"),
        (entry("", name='name: "a/b"'), "name: expected"),
        (entry("", path=""), "Expected model m to have an absolute path"),
        (entry("", path='base_path: "models/m"'), "absolute path; got base_path()=models/m"),
        (entry("", path='base_path: "gs://bucket/m"'), "got base_path()=gs://bucket/m"),
        (entry("", platform=""), "neither model_type(deprecated) nor model_platform"),
        (entry("model_type: TENSORFLOW"), "both model_type(deprecated) and model_platform"),
        (entry("", platform='model_platform: "caffe"'), "Model m requests unsupported platform c"),
        (entry("", platform="model_type: OTHER"), "Model m requests unsupported platform OTHER"),
        (
            entry("logging_config { sampling_config { sampling_rate: 1 } }"),
            "logging_config: expect",
        ),
        (entry("model_version_policy { specific {} }"), "specific: expected one or more versions"),
        (entry("model_version_policy { specific { versions: -1 } }"), "versions: expected"),
        (entry("version_labels { key: '' value: 1 }"), "version_labels: expected"),
        (entry("version_labels { key: 'a' value: -1 }"), "version_labels.a: expected"),
        (entry('} config { name: "m" base_path: "/n" model_type: TENSORFLOW'), "m multiple times"),
        ("custom_model_config {}", "expected a model_config_list. Received: custom_model_config"),
    ],
)
def test_what_a_file_may_not_say(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(InvalidInputError, match=re.escape(message)) as caught:
        read_models(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin").write_bytes(b"# \xff")
    for path in (tmp_path / "none", tmp_path, tmp_path / "latin"):
        with pytest.raises(InvalidInputError, match="expected a readable file"):
            read_models(str(path))


NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1).filter(
    lambda text: text.isprintable() and not set(text) & set("/:")
)
VERSIONS = st.integers(0, 2**63 - 1)
POLICIES = st.one_of(
    st.builds(lambda number: {"latest": number}, st.integers(1, 2**31)),
    st.just({"latest": None}),
    st.builds(lambda numbers: {"versions": tuple(numbers)}, st.lists(VERSIONS, min_size=1)),
)
MODELS = st.builds(
    lambda name, path, policy: ModelConfig(name=name, base_path=f"/{path}", **policy),
    *(NAMES, NAMES.filter(lambda name: set(name) != {"."}), POLICIES),
)


@settings(max_examples=40)
@given(st.lists(MODELS, unique_by=lambda model: model.name))
def test_what_is_written_is_read_again(models):
    message = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(model_config_text(models), message)
    assert models_of(message) == tuple(models)


@settings(max_examples=40)
@given(st.binary() | st.text(alphabet='model_config_list{}:" \n').map(str.encode))
def test_any_file_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.config"
    path.write_bytes(data)
    with contextlib.suppress(InvalidInputError):
        assert read_models(str(path)) in (None, ())
