"""Whole runs on small images: what is printed, what is written, and making it again."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Call = Callable[..., Any]
KEYS = {"output", "width", "height", "initial_loss", "loss", "terms", "iterations",
        "evaluations", "seconds", "stop_reason", "seed", "network"}  # fmt: skip


def rows_of(history: Path) -> list[dict[str, float]]:
    with history.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def check_result(values: dict[str, Any], out: Path, width: int, height: int) -> None:
    assert values["output"] == str(out)
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert image.mode == "RGB"
        assert image.size == (values["width"], values["height"]) == (width, height)
        image.load()
    assert values["loss"] > 0 < values["initial_loss"]  # of different sizes, if there are two
    assert math.isclose(values["loss"], sum(values["terms"].values()), rel_tol=1e-5)
    assert values["iterations"] <= values["evaluations"]
    assert values["seconds"] > 0


def check_history(history: Path, values: dict[str, Any]) -> None:
    rows = rows_of(history)
    terms = list(values["terms"])
    assert list(rows[0]) == ["iteration", "evaluations", "seconds", "loss", *terms]
    for row in rows:
        assert math.isclose(row["loss"], sum(row[term] for term in terms), rel_tol=1e-5)
    for before, after in itertools.pairwise(rows):
        for column in ("iteration", "evaluations", "seconds"):
            assert before[column] <= after[column], column
    assert rows[-1]["loss"] == values["loss"]
    assert {term: rows[-1][term] for term in terms} == values["terms"]
    assert rows[-1]["iteration"] == values["iterations"]
    assert rows[-1]["evaluations"] == values["evaluations"]


@pytest.fixture(scope="module")
def styled(
    call: Call, pictures: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """One run of `rwgen style` with a recipe file that is deleted afterwards."""
    folder = tmp_path_factory.mktemp("styled")
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps({"schema_version": 1, "name": "mine", "pooling": "max"}))
    run = call(
        "style", pictures.content, pictures.style, pictures.second, "-o", folder / "out.png",
        "--size", 48, "--iterations", 4, "--seed", 7, "--style-blend", "2,1",
        "--content-layer", "conv1_1", "--style-layer", "conv1_1", "--style-layer", "block1_pool",
        "--init", pictures.start, "--network", recipe, "--save-every", 2, "--history",
        folder / "history.csv", "--octaves", 0, "--colors", "mixed", "--json", "--quiet",
    )  # fmt: skip
    assert (run.code, run.err) == (0, "")
    recipe.unlink()
    return run.json, folder


def test_style_prints_one_json_object(styled: tuple[dict[str, Any], Path]) -> None:
    values, folder = styled
    assert values.keys() == KEYS
    check_result(values, folder / "out.png", 48, 36)
    assert values["terms"].keys() == {"content", "style", "tv"}
    assert (values["iterations"], values["stop_reason"]) == (4, "max_iterations")
    assert (values["seed"], values["network"]) == (7, "mine")


def test_the_history_agrees_with_the_json_object(styled: tuple[dict[str, Any], Path]) -> None:
    values, folder = styled
    check_history(folder / "history.csv", values)
    rows = rows_of(folder / "history.csv")
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3, 4]
    losses = [row["loss"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == values["initial_loss"]
    # The search started from the content's own pixels, and then left them.
    assert rows[0]["content"] < 1e-6 < rows[-1]["content"]


def test_intermediate_images_are_written_on_the_way(
    styled: tuple[dict[str, Any], Path], read_pixels: Call
) -> None:
    _, folder = styled
    names = {"out.png", "out-000002.png", "out-000004.png", "history.csv"}
    assert {path.name for path in folder.iterdir()} == names
    second, fourth, last = (
        read_pixels(folder / f"out{end}.png") for end in ("-000002", "-000004", "")
    )
    assert second.shape == last.shape
    assert not np.array_equal(second, last)
    np.testing.assert_array_equal(fourth, last)


def test_style_is_made_again_without_its_recipe_file(
    styled: tuple[dict[str, Any], Path], call: Call, tmp_path: Path
) -> None:
    values, folder = styled
    again = tmp_path / "again.png"
    run = call("style", "--from", folder / "out.png", "-o", again, "--json")
    assert again.read_bytes() == (folder / "out.png").read_bytes()
    assert run.json | {"output": "", "seconds": 0} == values | {"output": "", "seconds": 0}


def test_without_a_weight_its_term_is_not_reported(
    call: Call, pictures: Any, tmp_path: Path, shallow: tuple[str, ...]
) -> None:
    out = tmp_path / "out.png"
    run = call("style", pictures.content, pictures.style, "-o", out, "--size", 32, *shallow,
               "--iterations", 1, "--content-weight", 0, "--tv-weight", 0, "--json")  # fmt: skip
    check_result(run.json, out, 32, 24)
    assert run.json["terms"].keys() == {"style"}


@pytest.fixture(scope="module")
def textured(
    call: Call, pictures: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("textured")
    run = call(
        "texture", pictures.style, "-o", folder / "out.png", "--size", "70x64", "--source-size",
        72, "--layer", "conv1_1", "--octaves", 1, "--iterations", 6, "--json",
        "--history", folder / "history.csv", "--quiet",
    )  # fmt: skip
    assert (run.code, run.err) == (0, "")
    return run.json, folder


def test_texture_prints_one_json_object(textured: tuple[dict[str, Any], Path]) -> None:
    values, folder = textured
    assert values.keys() == KEYS
    check_result(values, folder / "out.png", 70, 64)
    assert values["terms"].keys() == {"style"}
    assert values["network"] == "ranpyramid"


def test_losses_fall_within_a_size_when_there_are_two(
    textured: tuple[dict[str, Any], Path],
) -> None:
    values, folder = textured
    check_history(folder / "history.csv", values)
    rows = rows_of(folder / "history.csv")
    # Half of the iterations at half the size; the finer size begins where the coarser ended.
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3, 3, 4, 5, 6]
    for losses in ([row["loss"] for row in rows[:4]], [row["loss"] for row in rows[4:]]):
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < losses[0]
    assert rows[0]["loss"] == values["initial_loss"]


def test_texture_is_made_again(
    textured: tuple[dict[str, Any], Path], call: Call, tmp_path: Path
) -> None:
    _, folder = textured
    assert call("texture", "--from", folder / "out.png", "-o", tmp_path / "again.png").code == 0
    assert (tmp_path / "again.png").read_bytes() == (folder / "out.png").read_bytes()


@pytest.fixture(scope="module")
def inverted(
    call: Call, pictures: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("inverted") / "out.png"
    run = call("invert", pictures.content, "--layer", "block1_pool", "-o", out, "--size", 48,
               "--iterations", 3, "--json", "--quiet")  # fmt: skip
    assert (run.code, run.err) == (0, "")
    return run.json, out


def compare(image: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> tuple[float, float]:
    """PSNR and SSIM by scikit-image, with the window of Wang et al. 2004."""
    ssim = structural_similarity(
        image, other, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    return peak_signal_noise_ratio(image, other, data_range=255), ssim


def test_invert_prints_how_close_the_written_image_is(
    inverted: tuple[dict[str, Any], Path], pictures: Any, read_pixels: Call
) -> None:
    values, out = inverted
    assert values.keys() == KEYS | {"psnr", "ssim"}
    check_result(values, out, 48, 36)
    assert values["terms"].keys() == {"content"}
    # At this size the picture is not scaled.
    psnr, ssim = compare(read_pixels(pictures.content), read_pixels(out))
    assert values["psnr"] == pytest.approx(psnr, abs=1e-3)
    assert values["ssim"] == pytest.approx(ssim, abs=1e-4)
    assert 0 < ssim < 1


def test_invert_is_made_again_and_another_seed_makes_another(
    inverted: tuple[dict[str, Any], Path], call: Call, tmp_path: Path, read_pixels: Call
) -> None:
    values, out = inverted
    again, other = tmp_path / "again.png", tmp_path / "other.png"
    assert call("invert", "--from", out, "-o", again).code == 0
    assert again.read_bytes() == out.read_bytes()
    run = call("invert", "--from", out, "-o", other, "--seed", 1, "--json")
    assert (run.json["seed"], values["seed"]) == (1, 0)
    assert run.json["iterations"] == values["iterations"]
    assert not np.array_equal(read_pixels(other), read_pixels(out))


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("invert", ("--layer", "conv1_1")),
        ("texture", ("--layer", "conv1_1", "--size", "32", "--octaves", "0")),
    ],
)
def test_a_network_that_sees_nothing_cannot_be_weighted(
    command: str, options: tuple[str, ...], refused: Call, pictures: Any, tmp_path: Path
) -> None:
    recipe, out = tmp_path / "recipe.json", tmp_path / "out.png"
    recipe.write_text('{"schema_version": 1, "kernel_stddev": 0}')
    out.write_bytes(b"an earlier result")
    line = refused(command, pictures.black, *options, "-o", out, "--network", recipe, "--force")
    assert "conv1_1" in line
    assert out.read_bytes() == b"an earlier result"


def test_a_black_image_has_a_texture_too(call: Call, pictures: Any, tmp_path: Path) -> None:
    # Zero padding gives even a uniform image features that vary.
    out = tmp_path / "out.png"
    run = call("texture", pictures.black, "-o", out, "--size", 32, "--source-size", 40, "--layer",
               "conv1_1", "--octaves", 0, "--iterations", 2, "--json")  # fmt: skip
    check_result(run.json, out, 32, 32)


def test_weights_that_do_not_have_their_fingerprint_are_refused(
    refused: Call, pictures: Any, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.json"
    weights = {"conv1_1": "0" * 64}
    recipe.write_text(json.dumps({"schema_version": 1, "weights_sha256": weights}))
    line = refused("invert", pictures.content, "--layer", "conv1_1", "-o", tmp_path / "out.png",
                   "--network", recipe)  # fmt: skip
    assert "conv1_1" in line
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize("name", ["my network", "a/b", "größer"])
def test_a_recipe_may_have_any_name(name: str, call: Call, pictures: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"schema_version": 1, "name": name}))
    run = call("invert", pictures.content, "--layer", "conv1_1", "-o", tmp_path / "out.png",
               "--network", recipe, "--iterations", 0, "--json")  # fmt: skip
    assert run.code in (0, 2)  # a recipe may also be refused for its name, in one line
    assert run.code == 2 or run.json["network"] == name


@pytest.mark.parametrize("change", [{"width": 0.1}, {"blocks": [[4, 3], [6, 1]]}], ids=list)
def test_images_of_networks_of_any_width_are_made_again_from_themselves(
    call: Call, pictures: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    recipe, out, again = (tmp_path / name for name in ("own.json", "out.png", "again.png"))
    recipe.write_text(json.dumps({"schema_version": 1, "kernel_stddev": 0.2, **change}))
    layer = "conv1_3" if "blocks" in change else "conv2_1"
    run = call(
        "texture", pictures.style, "-o", out, "--network", recipe, "--layer", "block1_pool",
        "--layer", layer, "--size", 40, "--iterations", 3, "--octaves", 0, "--json", "--quiet",
    )  # fmt: skip
    assert (run.code, run.err) == (0, "")
    assert run.json["loss"] < run.json["initial_loss"]
    recipe.unlink()
    assert call("texture", "--from", out, "-o", again, "--quiet").code == 0
    with Image.open(out) as first, Image.open(again) as second:
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
        stored = json.loads(first.text["rwgen"])["recipe"]
    assert change.items() <= stored.items()
    recipe.write_text(json.dumps(stored))
    run = call(
        "invert", pictures.style, "-o", out, "--network", recipe, "--layer", layer, "--size", 40,
        "--iterations", 3, "--octaves", 0, "--json", "--quiet", "--force",
    )  # fmt: skip
    assert (run.code, run.err) == (0, "")
    assert run.json["loss"] < run.json["initial_loss"]


def test_a_filled_image_is_the_source_outside_the_hole(
    call: Call, pictures: Any, tmp_path: Path, read_pixels: Call
) -> None:
    mask = np.zeros((44, 40), np.uint8)
    mask[14:26, 12:25] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    out = tmp_path / "out.png"
    run = call("texture", pictures.style, "--inpaint", tmp_path / "mask.png", "-o", out,
               "--layer", "conv1_1,conv2_1", "--iterations", 3, "--json", "--quiet")  # fmt: skip
    assert run.code == 0
    check_result(run.json, out, 40, 44)
    changed = (read_pixels(out) != read_pixels(pictures.style)).any(axis=2)
    assert not changed[mask == 0].any()
    assert changed[mask > 0].mean() > 0.9


def test_runs_of_one_shape_in_a_process_share_network_and_search(
    call: Call, pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the jobs of `rwgen batch` in one worker."""
    from rwgen.optimize.minimizer import Minimizer
    from rwgen.synthesis import reuse

    made: list[Minimizer] = []
    create = Minimizer.__init__

    def counted(self: Minimizer, *arguments: Any, **options: Any) -> None:
        made.append(self)
        create(self, *arguments, **options)

    monkeypatch.setattr(Minimizer, "__init__", counted)
    reuse._built.cache_clear()
    for name in ("first.png", "second.png"):
        run = call("style", pictures.content, pictures.style, "--size", 32, "--iterations", 2,
                   "--octaves", 0, "-o", tmp_path / name)  # fmt: skip
        assert run.code == 0, run.err
    assert reuse._built.cache_info().misses == 1
    assert len(made) == 1
