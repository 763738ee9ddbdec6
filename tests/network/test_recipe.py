import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rwgen.savedmodels
from rwgen import Recipe, RecipeError, load_recipe, network_names
from rwgen.network.architecture import VGG19
from rwgen.seeds import MAX_SEED

LAYERS = [spec.name for spec in VGG19.layers() if spec.kind != "pool"]


SHAPES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"width": st.floats(0, 4, exclude_min=True) | st.integers(1, 4)}),
    st.fixed_dictionaries(
        {
            "blocks": st.lists(
                st.tuples(st.integers(1, 2048), st.integers(1, 16)), min_size=1, max_size=8
            ).map(tuple)
        }
    ),
)


@st.composite
def recipes(draw):
    shape = draw(SHAPES)
    layers = [spec.name for spec in Recipe(**shape).topology.layers() if spec.kind != "pool"]
    names = st.sampled_from(layers)
    sha256 = st.text("0123456789abcdef", min_size=64, max_size=64)
    return Recipe(
        name=draw(st.text(min_size=1, max_size=20).filter(str.isprintable)),
        pooling=draw(st.sampled_from(["avg", "max", "binomial"])),
        padding=draw(st.sampled_from(["zeros", "symmetric"])),
        kernel_stddev=draw(st.floats(0, 1e3)),
        kernel_scaling=draw(st.sampled_from(["none", "fan_in"])),
        bias_stddev=draw(st.floats(0, 1e3)),
        bias_distribution=draw(st.sampled_from(["normal", "half_normal"])),
        seed=draw(st.integers(0, MAX_SEED)),
        candidates=draw(st.dictionaries(names, st.integers(0, 100), max_size=5)),
        weights_sha256=draw(st.dictionaries(names, sha256, max_size=5)),
        **shape,
    )


@given(recipes())
def test_every_recipe_survives_json(recipe):
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.topology == recipe.topology
    assert recipe.to_dict() == json.loads(recipe.to_json())  # lists, not tuples


def test_recipes_of_the_architectures_shape_have_the_former_fields_alone():
    assert list(Recipe().to_dict()) == [
        "schema_version", "name", "architecture", "pooling", "kernel_stddev", "bias_stddev",
        "bias_distribution", "seed", "candidates", "weights_sha256",
    ]  # fmt: skip


def test_fields_that_differ_from_the_paper_are_written_in_their_places():
    recipe = Recipe(padding="symmetric", kernel_scaling="fan_in")
    assert list(recipe.to_dict())[3:7] == ["pooling", "padding", "kernel_stddev", "kernel_scaling"]
    explicit = {**Recipe().to_dict(), "padding": "zeros", "kernel_scaling": "none"}
    assert Recipe.from_dict(explicit) == Recipe()


@pytest.mark.parametrize("name", network_names())
def test_shipped_files_are_what_their_recipes_write(name):
    text = (Path(rwgen.savedmodels.__path__[0]) / f"{name}.json").read_text(encoding="utf-8")
    assert load_recipe(name).to_json() == text


def test_deviations_follow_the_number_of_inputs():
    recipe = Recipe(kernel_stddev=3.0, kernel_scaling="fan_in", blocks=((5, 2), (7, 1)))
    inputs = {"conv1_1": 27, "conv1_2": 45, "conv2_1": 45, "fc3": 64 * 64 * 7, "fc4": 4096}
    for layer, fan_in in inputs.items():
        assert recipe.layer_stddev(layer) == pytest.approx(3 * (2 / fan_in) ** 0.5, rel=1e-15)
        assert Recipe(blocks=recipe.blocks).layer_stddev(layer) == 0.015


def test_a_recipe_determines_its_topology():
    assert Recipe().topology == VGG19
    assert Recipe(width=0.25).topology == VGG19.scaled(0.25)
    own = Recipe(blocks=((4, 3), (6, 1))).topology
    assert own.blocks == ((4, 3), (6, 1))
    assert own.dense_units == VGG19.dense_units


def test_layers_are_those_of_the_recipes_blocks():
    blocks = ((4, 3), (6, 1))
    Recipe(blocks=blocks, candidates={"conv1_3": 1, "fc3": 2, "fc5": 3})
    for layer in ("conv2_2", "conv3_1", "fc6"):
        with pytest.raises(RecipeError, match=layer):
            Recipe(blocks=blocks, candidates={layer: 1})


def test_another_width_drops_what_belongs_to_the_former_shapes():
    stacked = load_recipe("ranvgg19-stacked")
    narrow = stacked.with_width(0.5)
    assert (narrow.width, narrow.candidates, narrow.weights_sha256) == (0.5, {}, {})
    assert narrow.selection is None
    assert narrow.bias_distribution == stacked.bias_distribution
    same = stacked.with_width(1)
    assert (same.selection, same.weights_sha256) == (stacked.selection, stacked.weights_sha256)


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(str))
def test_any_other_text_is_refused_with_one_line(text):
    with pytest.raises(RecipeError) as caught:
        Recipe.from_json(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"schema_version": None}, "schema_version"),
        ({"schema_version": True}, "schema_version"),
        ({"colour": "red"}, "'colour'"),
        ({"name": ""}, "name"),
        ({"name": 3}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"architecture": "vgg99"}, "vgg19"),
        ({"pooling": "median"}, "pooling"),
        ({"kernel_stddev": -0.1}, "kernel_stddev"),
        ({"kernel_stddev": "0.1"}, "kernel_stddev"),
        ({"bias_stddev": True}, "bias_stddev"),
        ({"bias_distribution": "uniform"}, "bias_distribution"),
        ({"bias_distribution": None}, "bias_distribution"),
        ({"padding": "same"}, "padding: expected one of zeros, symmetric. Received: 'same'"),
        ({"padding": None}, "padding"),
        ({"kernel_scaling": "fan_out"}, "kernel_scaling: .*'fan_out'"),
        ({"kernel_scaling": None}, "kernel_scaling"),
        (
            {"weights": "imagenet", "padding": "symmetric"},
            "padding: expected no value with trained",
        ),
        ({"weights": "a.h5", "kernel_scaling": "fan_in"}, "kernel_scaling: expected no value with"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.0}, "seed"),
        ({"seed": MAX_SEED + 1}, "seed"),
        ({"width": 0}, "width: .*above 0 and at most 4"),
        ({"width": 4.01}, "width"),
        ({"width": -1}, "width"),
        ({"blocks": []}, "blocks: expected a tuple of 1 to 8 pairs"),
        ({"blocks": [[4, 1]] * 9}, "blocks"),
        ({"blocks": [[4]]}, "blocks"),
        ({"blocks": [[4, 1, 1]]}, "blocks"),
        ({"blocks": [4, 1]}, "blocks"),
        ({"blocks": ["ab"]}, "blocks"),
        ({"blocks": "ab"}, "blocks"),
        ({"blocks": {"4": 1}}, "blocks"),
        ({"blocks": [[0, 1]]}, "blocks"),
        ({"blocks": [[4, 0]]}, "blocks"),
        ({"blocks": [[4, 17]]}, "blocks"),
        ({"blocks": [[2049, 1]]}, "blocks"),
        ({"blocks": [[4.0, 1]]}, "blocks"),
        ({"blocks": [[True, 1]]}, "blocks"),
        ({"blocks": [[10**4000, 1]]}, "blocks"),
        ({"blocks": [[4, 1]], "width": 0.5}, "width: expected no value with blocks. Received: 0.5"),
        ({"weights": "imagenet", "width": 1}, "width: expected no value with trained weights"),
        ({"weights": "a.h5", "blocks": [[4, 1]]}, "blocks: expected no value with trained weights"),
        ({"candidates": {"pool1": 1}}, "candidates"),
        ({"candidates": {"block1_conv1": 1}}, "candidates"),
        ({"candidates": {"conv9_9": 1}}, "conv9_9"),
        ({"candidates": {"conv1_1": -1}}, "conv1_1"),
        ({"candidates": [1]}, "object"),
        ({"weights_sha256": {"conv1_1": "abc"}}, "64 hexadecimal"),
    ],
)
def test_a_wrong_field_is_named(change, message):
    values = {**Recipe().to_dict(), **change}
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.from_json(json.dumps(values))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"schema_version": 1, "seed": 1, "seed": 2}',
        '{"schema_version": 1, "kernel_stddev": NaN}',
        '{"schema_version": 1, "kernel_stddev": Infinity}',
        "[" * 100_000,
    ],
)
def test_malformed_json_is_refused(text):
    with pytest.raises(RecipeError):
        Recipe.from_json(text)


def test_shipped_recipes_bear_their_names_and_fingerprints_of_every_layer():
    assert set(network_names()) >= {
        "ranpyramid",
        "ranvgg19",
        "ranvgg19-half-normal",
        "ranvgg19-half-width",
        "ranvgg19-stacked",
        "ranvgg19-zero-bias",
    }
    for name in network_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        layers = [spec.name for spec in recipe.topology.layers() if spec.kind != "pool"]
        assert list(recipe.weights_sha256) == layers


def test_a_recipe_file_is_read(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(Recipe(seed=12).to_json(), encoding="utf-8")
    assert load_recipe(str(path)).seed == 12


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b" " * (1 << 20) + b"{}", b"{}", None], ids=lambda c: str(c)[:12]
)
def test_a_file_that_is_no_recipe_is_named(tmp_path, content):
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"bad\.json"):
        load_recipe(str(path))


def test_an_unknown_network_is_answered_with_those_that_exist():
    with pytest.raises(RecipeError, match=r"ranvgg19, .*ranvgg19-zero-bias.*'vgg'"):
        load_recipe("vgg")


RIGHT_TYPES = {
    "schema_version": (),
    "name": ("text",),
    "architecture": (),
    "width": ("null", "whole", "fraction"),
    "blocks": ("null",),
    "pooling": (),
    "padding": (),
    "kernel_stddev": ("whole", "fraction"),
    "kernel_scaling": (),
    "bias_stddev": ("whole", "fraction"),
    "bias_distribution": (),
    "seed": ("whole",),
    "candidates": ("object",),
    "weights_sha256": ("object",),
}
VALUES = {
    "null": None,
    "truth": True,
    "text": "some text",
    "whole": 2,
    "fraction": 2.5,
    "huge": 10**400,
    "list": [],
    "nested": [[1], {}],
    "object": {},
    "other object": {"a": 1},
}


@pytest.mark.parametrize("field", RIGHT_TYPES)
@pytest.mark.parametrize("kind", VALUES)
def test_every_field_takes_its_own_types_and_refuses_all_others(field, kind):
    text = json.dumps({**Recipe().to_dict(), field: VALUES[kind]})
    if kind in RIGHT_TYPES[field]:
        assert getattr(Recipe.from_json(text), field) == VALUES[kind]
        return
    with pytest.raises(RecipeError, match="a" if kind == "other object" else field) as caught:
        Recipe.from_json(text)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("field", ["seed", "kernel_stddev", "candidates", "width", "blocks"])
def test_numbers_of_absurd_length_are_refused(field):
    text = f'{{"schema_version": 1, "{field}": {"1" * 5000}}}'
    with pytest.raises(RecipeError) as caught:
        Recipe.from_json(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        '{{"schema_version": 1, "name": {}}}',
        '{{"schema_version": 1, "candidates": {}}}',
        '{{"schema_version": 1, "blocks": {}}}',
    ],
)
def test_nesting_of_any_depth_is_refused(frame):
    """Also near the recursion limit, where text can be parsed but values cannot be printed."""
    for depth in [*range(2, 1010), 10_000, 200_000]:
        with pytest.raises(RecipeError):
            Recipe.from_json(frame.format("[" * depth + "]" * depth))


@pytest.mark.parametrize(
    "name", ["missing.json", "no-folder/x.json", "a\nb.json", "a\0b.json", "folder", "x" * 5000]
)
def test_a_path_that_cannot_be_read_is_refused_with_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecipeError, match="expected a recipe that can be read") as caught:
        load_recipe(f"{tmp_path}/{name}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_bad_recipe_in_a_file_whose_name_has_two_lines_is_refused_with_one(tmp_path):
    (tmp_path / "a\nb.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RecipeError, match="schema_version") as caught:
        load_recipe(str(tmp_path / "a\nb.json"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_recipe_of_the_largest_size_is_read(tmp_path):
    text = Recipe(seed=5).to_json()
    path = tmp_path / "padded.json"
    path.write_text(text.ljust(1 << 20), encoding="utf-8")
    assert load_recipe(str(path)) == Recipe(seed=5)
    path.write_text(text.ljust((1 << 20) + 1), encoding="utf-8")
    with pytest.raises(RecipeError, match="1 MiB"):
        load_recipe(str(path))
