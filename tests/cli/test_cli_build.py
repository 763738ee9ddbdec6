"""`rwgen build` and `rwgen networks`."""

import json

import numpy as np
import pytest
from PIL import Image

from rwgen import Checkpoint, build_network, load_recipe, network_names
from rwgen.images import read_image, resize_image
from rwgen.optimize.checkpoint import fingerprint

FAST = ("--candidates", 2, "--layers", "conv1_1", "--size", 16, "--iterations", 2)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("build") / "reference.png"
    pixels = np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).resize((48, 40)).save(path)
    return path


@pytest.fixture(scope="module")
def built(call, reference):
    output = reference.parent / "stack one.json"
    return output, call("build", "--reference", reference, "-o", output, *FAST, "--json")


@pytest.mark.slow
def test_a_recipe_is_written_that_other_commands_take(call, built, reference):
    output, run = built
    assert run.code == 0, run.err
    recipe = load_recipe(str(output))
    assert recipe.name == "stack one"
    assert recipe.bias_stddev == load_recipe("ranvgg19-half-normal").bias_stddev
    losses = recipe.selection.losses["conv1_1"]
    assert recipe.candidates.get("conv1_1", 0) == int(np.argmin(losses))
    assert recipe.selection.iterations == 2
    square = read_image(reference)[:, 4:44]
    assert recipe.selection.reference_sha256 == fingerprint(resize_image(square, 16, 16))
    build_network(recipe, "conv1_1")  # its fingerprints are right
    assert run.json["losses"] == {"conv1_1": list(losses)}
    assert run.json["candidates"]["conv1_1"] == recipe.candidates.get("conv1_1", 0)
    assert run.err.count("conv1_1 candidate") == 2
    assert call("layers", "--network", output, "--json").json["network"] == "stack one"


@pytest.mark.usefixtures("cheap_commands")
def test_a_stack_of_a_narrow_network(call, reference, tmp_path):
    output = tmp_path / "narrow.json"
    arguments = (*FAST, "--network", "ranvgg19-stacked", "--width", 0.1, "--quiet")
    run = call("build", "--reference", reference, "-o", output, *arguments)
    assert (run.code, run.err) == (0, "")
    recipe = load_recipe(str(output))
    assert (recipe.width, recipe.bias_distribution) == (0.1, "half_normal")
    assert list(recipe.selection.losses) == list(recipe.weights_sha256) == ["conv1_1"]
    assert build_network(recipe, "conv1_1").output_shape[-1] == 6


@pytest.mark.slow
def test_ray_gives_the_same_scores(call, built, reference, tmp_path):
    pytest.importorskip("ray", reason="the extra rwgen[ray] is not installed")
    output = tmp_path / "other.json"
    arguments = (*FAST, "--candidates", 1, "--ray", "local", "--quiet")
    run = call("build", "--reference", reference, "-o", output, *arguments)
    assert (run.code, run.err) == (0, "")
    found, expected = (load_recipe(str(path)).selection for path in (output, built[0]))
    assert found.losses["conv1_1"] == expected.losses["conv1_1"][:1]
    assert found.psnrs["conv1_1"] == expected.psnrs["conv1_1"][:1]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--candidates", 0), "candidates"),
        (("--layers", "conv9_9"), "conv9_9"),
        (("--layers", "pool1"), "pool1"),
        (("--layers", "conv1_1,,"), "''"),
        (("--layers", "fc6", "--size", 64), "256x256"),
        (("--layers", "conv5_1", "--size", 8), "16 pixels"),
        (("--network", "nothing"), "nothing"),
        (("--width", 0), "width: expected a finite number above 0"),
        (("--network", "imagenet", "--width", 0.5), "width: expected no value with trained"),
        (("--workers", 0), "workers"),
        (("--workers", 2, "--ray", "local"), "--ray"),
        (("--checkpoint", "/proc/no/folder"), "checkpoint"),
        (("-o", "recipe.txt"), ".json"),
        (("-o", "/no/such/folder/x.json"), "folder"),
        (("--reference", "missing.png"), "missing.png"),
    ],
)
def test_wrong_calls_are_refused_in_one_line_before_any_work(
    call, reference, tmp_path, arguments, word
):
    output = tmp_path / "x.json"
    run = call("build", "--reference", reference, "-o", output, *arguments)
    assert run.code == 2
    assert word in run.err
    assert len(run.err.splitlines()) == 1
    assert not output.exists()


def test_a_recipe_is_replaced_with_force_or_by_the_run_that_began_it(
    call, refused, reference, tmp_path, monkeypatch
):
    output, state = tmp_path / "stack.json", tmp_path / "state"

    def select(_pixels, *, recipe, checkpoint, **_):
        if checkpoint is not None:
            checkpoint.save(scores={"conv1_1": [[0.5, 20.0]]})
        return recipe

    monkeypatch.setattr("rwgen.selection.select_weights", select)
    arguments = ("build", "--reference", reference, "-o", output, *FAST)
    assert call(*arguments).code == 0
    line = refused(*arguments, "--checkpoint", state)
    assert "--output: expected a new file, or --force. Received: " in line
    assert call(*arguments, "--force").code == 0
    Checkpoint(state).save(scores={"conv1_1": [[0.5, 20.0]]})
    assert call(*arguments, "--checkpoint", state).code == 0


def test_networks_are_listed_for_people_and_for_programs(call):
    run = call("networks", "--json")
    assert run.code == 0
    entries = run.json["networks"]
    assert [entry["name"] for entry in entries] == [*network_names(), "imagenet"]
    assert [entry["name"] for entry in entries if entry["trained"]] == ["imagenet"]
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["ranvgg19"] == {
        "name": "ranvgg19",
        "architecture": "vgg19",
        "width": 1,
        "blocks": [[64, 2], [128, 2], [256, 4], [512, 4], [512, 4]],
        "pooling": "avg",
        "padding": "zeros",
        "kernel_stddev": 0.015,
        "kernel_scaling": "none",
        "kernel_size": 3,
        "pyramid": False,
        "bias_stddev": 0.015,
        "bias_distribution": "normal",
        "seed": 0,
        "stacked": False,
        "selected_layers": [],
        "candidates": 1,
        "trained": False,
    }
    half = by_name["ranvgg19-half-width"]
    assert half["blocks"] == [[32, 2], [64, 2], [128, 4], [256, 4], [256, 4]]
    assert (half["width"], half["bias_stddev"]) == (0.5, 0.3)
    assert (half["padding"], half["kernel_scaling"]) == ("symmetric", "fan_in")
    table = call("networks")
    assert table.code == 0
    rows = [" ".join(line.split()) for line in table.out.decode().splitlines()]
    assert "ranvgg19-half-width 0.5 1, scaled 0.3 avg -" in rows
    assert "ranpyramid 1 1, scaled 0.1 pyramid -" in rows
    for name in network_names():
        assert name in table.out.decode()
    assert json.loads(run.out)
