"""What the options do, with tasks that only note what they are given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rwgen.network.architecture import VGG19
from rwgen.optimize.config import OptimizerConfig
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig

Call = Callable[..., Any]


def test_every_option_of_style_reaches_the_task(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    run = call(
        "style", pictures.content, pictures.style, pictures.second, "-o", tmp_path / "out.png",
        "--size", 40, "--iterations", 5, "--seed", 7, "--content-weight", 0, "--style-weight", 2.5,
        "--tv-weight", 1e-3, "--content-layer", "conv1_1", "--content-layer", "block1_pool",
        "--style-layer", "conv2_1", "--style-blend", "3,1", "--network", "ranvgg19",
        "--weighting", "signed", "--no-shift-features", "--no-whiten-gram", "--colors", "palette",
        "--octaves", 2, "--parameterization", "fourier", "--quiet",
    )  # fmt: skip
    assert (run.code, run.out, run.err) == (0, b"", "")
    assert fake_tasks.last["config"] == StyleConfig(
        network="ranvgg19",
        content_layers=("conv1_1", "block1_pool"),
        style_layers=("conv2_1",),
        content_weight=0.0,
        style_weight=2.5,
        tv_weight=1e-3,
        style_blend=(3.0, 1.0),
        weighting="signed",
        shift_features=False,
        whiten_gram=False,
        colors="palette",
        octaves=2,
        parameterization="fourier",
        seed=7,
        optimizer=OptimizerConfig(max_iterations=5),
    )
    # Built as far as it is needed, and no further.
    assert fake_tasks.last["network"] == ("ranvgg19", "conv2_1")
    assert fake_tasks.last["content"].shape == (30, 40, 3)
    assert [image.shape for image in fake_tasks.last["styles"]] == [(40, 36, 3), (40, 30, 3)]
    assert fake_tasks.last["init"] is None


def test_styles_are_scaled_from_their_files_and_never_enlarged(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    """The styles have 40x44 and 36x48 pixels, and the result 32x24."""
    both = (pictures.style, pictures.second)

    def sizes(scale: str) -> list[tuple[int, ...]]:
        run = call("style", pictures.content, *both, "--style-scale", scale, "--size", 32, "-fo",
                   tmp_path / "out.png")  # fmt: skip
        assert run.code == 0, run
        notes.append(run.notes)
        assert fake_tasks.last["config"].style_scale == tuple(map(float, scale.split(",")))
        return [image.shape[:2] for image in fake_tasks.last["styles"]]

    notes: list[tuple[str, ...]] = []
    assert sizes("1") == [(32, 29), (32, 24)]
    assert sizes("0.5,1.25") == [(16, 15), (40, 30)]
    assert notes == [(), ()]
    assert sizes("1.4375") == [(44, 40), (46, 35)]
    assert notes[-1] == (
        f"{pictures.style}: --style-scale 1.4375 asks for 46 pixels; it is taken at its own 44, as "
        "enlarging adds no strokes",
    )


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "1,2,3"])
def test_a_style_scale_is_a_number_above_zero_for_all_or_each(
    scale: str, refused: Callable[..., str], pictures: Any
) -> None:
    line = refused("style", pictures.content, pictures.style, "--style-scale", scale)
    assert "style_scale" in line
    assert "Received: " in line


def test_style_without_options_is_the_default_configuration(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    assert call("style", pictures.content, pictures.style, "-o", out).code == 0
    assert fake_tasks.last["config"] == StyleConfig()
    with Image.open(out) as image:
        assert image.size == (512, 384)


def test_every_option_of_texture_reaches_the_task(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    run = call(
        "texture", pictures.style, "-o", tmp_path / "out.png", "--size", "50x20", "--seed", 3,
        "--source-size", 33, "--iterations", 5, "--layer", "pool1", "--layer", "conv1_1",
        "--network", "ranvgg19", "--weighting", "signed", "--no-shift-features",
        "--no-whiten-gram", "--octaves", 0, "--parameterization", "box", "--quiet",
        "--tileable", "--blend", "3",
    )  # fmt: skip
    assert (run.code, run.out, run.err) == (0, b"", "")
    assert fake_tasks.last["config"] == TextureConfig(
        source_blend=(3.0,),
        tileable=True,
        network="ranvgg19",
        layers=("pool1", "conv1_1"),
        weighting="signed",
        shift_features=False,
        whiten_gram=False,
        octaves=0,
        parameterization="box",
        seed=3,
        optimizer=OptimizerConfig(max_iterations=5),
    )
    assert fake_tasks.last["size"] == (20, 50)
    (source,) = fake_tasks.last["sources"]
    assert source.shape == (33, 30, 3)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (50, 20)


def test_a_texture_of_several_sources(
    call: Call, pictures: Any, fake_tasks: Any, clone: Path, read_pixels: Call
) -> None:
    both = (pictures.style, pictures.second)
    run = call("texture", *both, "--blend", "2,1", "--source-size", 48, "--size", 32)
    assert run.code == 0
    assert (clone / "style-and-second-texture.png").exists()
    assert fake_tasks.last["config"].source_blend == (2, 1)
    first, second = fake_tasks.last["sources"]
    assert first.shape == (48, 44, 3)
    np.testing.assert_array_equal(second, read_pixels(pictures.second))
    again = call("texture", "--from", "style-and-second-texture.png", "-o", "again.png")
    assert again.code == 0
    np.testing.assert_array_equal(fake_tasks.last["sources"][1], second)


def test_a_hole_is_filled_at_the_size_of_the_source(
    call: Call, pictures: Any, fake_tasks: Any, clone: Path, read_pixels: Call
) -> None:
    mask = np.zeros((44, 40), np.uint8)
    mask[10:20, 5:15] = 255
    Image.fromarray(mask).save("mask.png")
    run = call("texture", pictures.style, "--inpaint", "mask.png", "-o", "a.png", "--seed", 3)
    assert run.code == 0
    np.testing.assert_array_equal(fake_tasks.last["image"], read_pixels(pictures.style))
    np.testing.assert_array_equal(fake_tasks.last["hole"][..., 0], mask)
    fill = OptimizerConfig(max_iterations=8)
    config = TextureConfig(seed=3, parameterization="fourier", optimizer=fill)
    assert fake_tasks.last["config"] == config
    # The mask is among the inputs of the image, and found again.
    again = call("texture", "--from", "a.png", "-o", "b.png", "--iterations", 9)
    assert again.code == 0
    np.testing.assert_array_equal(fake_tasks.last["hole"][..., 0], mask)
    fill = OptimizerConfig(max_iterations=9)
    assert fake_tasks.last["config"] == dataclasses.replace(config, optimizer=fill)
    call("texture", "--from", "b.png", "-o", "b2.png")
    assert fake_tasks.last["config"] == dataclasses.replace(config, optimizer=fill)
    Image.fromarray(255 - mask).save("mask.png")
    assert "other pixels" in call("texture", "--from", "a.png", "-o", "c.png").err


def test_a_hole_that_no_piece_fits_takes_the_iterations_of_a_texture(
    call: Call, pictures: Any, fake_tasks: Any, clone: Path
) -> None:
    mask = np.zeros((44, 40), np.uint8)
    mask[8:36, 8:32] = 255
    Image.fromarray(mask).save("mask.png")
    assert call("texture", pictures.style, "--inpaint", "mask.png", "-o", "a.png").code == 0
    assert fake_tasks.last["config"] == TextureConfig()


def test_texture_without_options_is_the_default_configuration(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    assert call("texture", pictures.style, "-o", tmp_path / "out.png").code == 0
    assert fake_tasks.last["config"] == TextureConfig()
    assert fake_tasks.last["size"] == (512, 512)


@pytest.mark.parametrize("spec", VGG19.layers(), ids=lambda spec: spec.name)
def test_any_layer_can_be_inverted_by_both_its_names(
    spec: Any, call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    for name in (spec.name, spec.keras_name):
        out = tmp_path / f"{name}.png"
        size = () if spec.kind == "dense" else ("--size", 48)
        run = call("invert", pictures.content, "--layer", name, "-o", out, *size, "-q")
        assert (run.code, run.err) == (0, "")
        assert fake_tasks.last["config"] == InversionConfig()
        assert fake_tasks.last["layer"] == [spec.name]
        assert fake_tasks.last["network"] == ("ranvgg19-stacked", spec.name)
        # Dense layers see the central square at the size that they were made for.
        shape = (256, 256, 3) if spec.kind == "dense" else (36, 48, 3)
        assert fake_tasks.last["image"].shape == shape


@pytest.mark.parametrize(
    "given",
    [
        ("--layer", "conv1_1", "--layer", "pool2"),
        ("--layers", "conv1_1, block2_pool"),
        ("--layer", "conv1_1,pool2,conv1_1"),
    ],
    ids=" ".join,
)
def test_layers_are_spelled_alike_everywhere(
    given: tuple[str, ...], call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    common = ("-o", tmp_path / "out.png", "--force", "--size", 48)
    assert call("invert", pictures.content, *given, *common).code == 0
    assert fake_tasks.last["layer"] == ["conv1_1", "pool2"]
    texture = ("texture", pictures.style, *given, *common)
    assert call(*texture).code == 0
    found = [fake_tasks.last["config"].layers]
    for option in ("content", "style"):
        renamed = [word.replace("--layers", "--layer") for word in given]
        renamed = [word.replace("--layer", f"--{option}-layer") for word in renamed]
        call("style", pictures.content, pictures.style, *renamed, *common)
        found.append(getattr(fake_tasks.last["config"], f"{option}_layers"))
    for layers in found:
        assert [VGG19.layer(name).name for name in layers] == ["conv1_1", "pool2"]


def test_the_layer_of_an_inversion_may_be_stored_as_one_name(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    made, old = tmp_path / "made.png", tmp_path / "old.png"
    assert call("invert", pictures.content, "--layer", "pool1", "-o", made, "--size", 48).code == 0
    with Image.open(made) as image:
        settings = json.loads(image.text["rwgen"])
        settings["options"]["layer"] = "pool1"  # as written by earlier versions
        info = PngInfo()
        info.add_itxt("rwgen", json.dumps(settings))
        image.save(old, pnginfo=info)
    assert call("invert", "--from", old, "-o", tmp_path / "again.png").code == 0
    assert fake_tasks.last["layer"] == ["pool1"]


def test_a_dense_layer_sees_the_central_square(call: Call, fake_tasks: Any, tmp_path: Path) -> None:
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = 200
    Image.fromarray(picture).save(tmp_path / "in.png")
    run = call("invert", tmp_path / "in.png", "--layer", "fc8", "-o", tmp_path / "out.png")
    assert run.code == 0
    np.testing.assert_array_equal(fake_tasks.last["image"], 200)


def test_what_changes_an_image_is_said(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    clear, moving = tmp_path / "clear.png", tmp_path / "moving.gif"
    Image.new("RGBA", (48, 36), (9, 9, 9, 254)).save(clear)
    frames = [Image.new("RGB", (48, 36), (9, gray, 9)) for gray in (9, 200)]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    arguments = ("style", clear, moving, "-o", tmp_path / "out.jpg", "--force")
    assert call(*arguments, "--size", 48).notes == (
        f"{clear}: transparent pixels are blended with white",
        f"{moving}: only the first of several frames is used",
    )
    assert call(*arguments, "--size", 48, "--quiet").notes == ()
    arguments = ("style", pictures.content, clear, *arguments[3:])
    assert (
        call(*arguments, "--size", 44).notes[0]
        == f"{clear}: transparent pixels are blended with white"
    )
    arguments = ("style", pictures.content, pictures.style, *arguments[3:])
    assert call(*arguments, "--size", 44).notes == ()
    assert call(*arguments, "--size", 45).notes == (
        f"{pictures.style}: enlarged from 40x44 to 41x45 pixels, which adds no detail",
    )


@pytest.fixture
def masks(tmp_path: Path) -> list[Path]:
    """Masks of 48x36, 40x44 and 36x48 pixels, whose left and right halves are regions."""
    paths = []
    for number, (width, height) in enumerate([(48, 36), (40, 44), (36, 48)]):
        pixels = np.zeros((height, width), np.uint8)
        pixels[:, width // 2 :] = 255
        paths.append(tmp_path / f"mask{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_masks_reach_the_task_and_are_found_again(
    masks: list[Path], call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    both, out = (pictures.style, pictures.second), tmp_path / "out.png"
    run = call("style", pictures.content, *both, "--content-mask", masks[0], "-o", out)
    assert run.code == 0, run
    levels = np.array([0, 255]).repeat(24)
    np.testing.assert_array_equal(fake_tasks.last["content_mask"][5, :, 1], levels)
    assert fake_tasks.last["style_masks"] == []
    run = call("style", "--from", out, "--style-mask", masks[1], "--style-mask", masks[2], "-fo",
               out)  # fmt: skip
    assert run.code == 0, run
    assert call("style", "--from", out, "-o", tmp_path / "again.png").code == 0
    np.testing.assert_array_equal(fake_tasks.last["content_mask"][5, :, 1], levels)
    assert [mask.shape for mask in fake_tasks.last["style_masks"]] == [(44, 40, 3), (48, 36, 3)]
    Image.new("L", (40, 44)).save(masks[1])
    run = call("style", "--from", out, "-o", tmp_path / "other.png")
    assert run.code == 2
    assert "expected the style_mask image" in run.err


def test_regions_count_in_the_memory_estimate(
    masks: list[Path], call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from rwgen.cli import resources

    seen: list[Any] = []
    monkeypatch.setattr(resources, "plan_resources", lambda work, *_: seen.append(work))
    layers = "conv1_1,conv2_1,conv3_1,conv4_1"
    arguments = ("style", pictures.content, pictures.style, "--size", 48, "--style-layer", layers,
                 "--network", "ranvgg19-half-width", "--margin", 0,
                 "-fo", tmp_path / "out.png")  # fmt: skip
    for more in ((), ("--content-mask", masks[0]), ("--style-weight", 0)):
        assert call(*arguments, *more).code == 0
    plain, regions, none = (sum(work.guided) for work in seen)
    # Half of 64, 128, 256 and 512 channels at 48x36, and at half the size after each pool.
    assert regions == 36 * 48 * (32 + 64 / 4 + 128 / 16) + 4 * 6 * 256
    assert plain == none == 0


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_the_result_is_as_transparent_as_the_content(
    suffix: str, call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (36, 48, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    out = tmp_path / f"out{suffix}"
    arguments = ("style", tmp_path / "clear.png", pictures.style, "-fo", out)
    assert call(*arguments, "--size", 48).code == 0
    with Image.open(out) as image:
        found = np.asarray(image)
    np.testing.assert_array_equal(found[..., 3], pixels[..., 3])
    np.testing.assert_array_equal(found[..., :3], 127)
    is_visible = pixels[..., 3] > 16
    np.testing.assert_allclose(
        fake_tasks.last["content"][is_visible], pixels[..., :3][is_visible], atol=0.01
    )
    assert call(*arguments, "--size", 24).code == 0
    with Image.open(out) as image:
        halved = pixels[..., 3].reshape(18, 2, 24, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(np.asarray(image)[..., 3], halved, atol=0.5)


def test_intermediate_images_are_transparent_too(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    Image.new("RGBA", (48, 36), (1, 2, 3, 77)).save(tmp_path / "clear.png")
    assert call("style", tmp_path / "clear.png", pictures.style, "--save-every", 1, "-o",
                tmp_path / "out.png").code == 0  # fmt: skip
    with Image.open(tmp_path / "out-000001.png") as image:
        assert image.getpixel((0, 0)) == (127, 127, 127, 77)


@pytest.mark.parametrize("command", ["style", "texture", "invert"])
def test_sixteen_bits_hold_the_floats_of_the_solution_and_its_settings(
    command: str, call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    import tensorflow as tf

    arguments = {"style": [pictures.content, pictures.style], "texture": [pictures.style],
                 "invert": [pictures.content, "--layer", "conv1_1"]}[command]  # fmt: skip
    out, again = tmp_path / "out.png", tmp_path / "again.tif"
    assert call(command, *arguments, "--bits", 16, "--seed", 9, "-o", out).code == 0
    pixels = tf.io.decode_png(out.read_bytes(), dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(pixels, 127 * 257)
    assert call(command, "--from", out, "--bits", 16, "-o", again).code == 0
    assert fake_tasks.seen[0]["config"] == fake_tasks.last["config"]
    np.testing.assert_array_equal(tifffile.imread(again), 127 * 257)


@pytest.mark.parametrize(("bits", "suffix"), [(16, ".jpg"), (16, ".webp"), (12, ".png")])
def test_bits_that_a_format_lacks_are_refused(
    bits: int, suffix: str, refused: Callable[..., str], pictures: Any, tmp_path: Path
) -> None:
    out = tmp_path / f"out{suffix}"
    line = refused("style", pictures.content, pictures.style, "--bits", bits, "-o", out)
    assert line == (
        "rwgen: --bits: expected 8, or 16 in a file ending in .png or .tif. Received: "
        f"{bits} for '{out}'\n"
    )


def test_the_search_can_start_from_the_content_or_from_a_file(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path, read_pixels: Call
) -> None:
    common = (
        "style",
        pictures.content,
        pictures.style,
        "-o",
        tmp_path / "out.png",
        "--size",
        48,
        "-f",
    )
    assert call(*common, "--init", "content").code == 0
    assert (fake_tasks.last["config"].init, fake_tasks.last["init"]) == ("content", None)
    assert call(*common, "--init", pictures.start).code == 0
    np.testing.assert_array_equal(fake_tasks.last["init"], read_pixels(pictures.content))
    assert call(*common, "--init", pictures.second).code == 0
    assert fake_tasks.last["init"].shape == (36, 48, 3)  # made to fit, whatever its own shape
    assert call(*common, "--init", "noise").code == 0
    assert (fake_tasks.last["config"].init, fake_tasks.last["init"]) == ("noise", None)


@pytest.mark.parametrize(
    ("every", "expected"), [(0, []), (1, [1, 2, 3]), (2, [2]), (3, [3]), (4, [])]
)
def test_intermediate_images_are_written_at_multiples(
    every: int, expected: list[int], call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    out = tmp_path / "my.image.png"
    run = call("texture", pictures.style, "-o", out, "--size", 16, "--save-every", every)
    assert run.code == 0
    names = {f"my.image-{iteration:06d}.png" for iteration in expected}
    assert {path.name for path in tmp_path.iterdir()} == {"my.image.png", *names}


def test_intermediate_images_are_there_while_the_search_goes_on(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    seen = []
    fake_tasks.on_step = lambda _: seen.append(sorted(path.name for path in tmp_path.iterdir()))
    out = tmp_path / "out.png"
    call("texture", pictures.style, "-o", out, "--size", 16, "--save-every", 1)
    assert seen == [[], [], ["out-000001.png"], ["out-000001.png", "out-000002.png"]]


def test_intermediate_images_of_another_run_are_not_replaced(
    call: Call, refused: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    (tmp_path / "out-000100.png").write_bytes(b"an earlier image")
    arguments = ("texture", pictures.style, "-o", tmp_path / "out.png", "--size", 16)
    line = refused(*arguments, "--save-every", 1)
    assert line.startswith("rwgen: --save-every: expected a new file, or --force. Received: ")
    assert "out-000100.png" in line
    assert call(*arguments).code == 0  # which writes none
    assert call(*arguments, "--save-every", 1, "--force").code == 0
    assert (tmp_path / "out-000100.png").read_bytes() == b"an earlier image"
    assert (tmp_path / "out-000003.png").exists()


@pytest.mark.parametrize(
    ("command", "arguments", "name"),
    [
        ("style", ("{content}", "{style}"), "content-in-style.png"),
        ("style", ("{content}", "{style}", "{second}"), "content-in-style-and-second.png"),
        ("style", ("-", "{style}", "--init", "{start}"), "stdin-in-style.png"),
        ("texture", ("{style}", "--size", "16"), "style-texture.png"),
        ("invert", ("{content}", "--layer", "block4_conv1"), "content-conv4_1.png"),
    ],
)
def test_without_output_the_image_is_named_after_the_inputs(
    command: str, arguments: tuple[str, ...], name: str, call: Call, refused: Call, pictures: Any,
    fake_tasks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = [command, *(word.format(**vars(pictures)) for word in arguments)]
    stdin = pictures.content.read_bytes()
    run = call(*words, "--json", stdin=stdin)
    assert run.err.splitlines()[0] == f"rwgen: no --output given; writing {name}"
    assert run.json["output"] == name
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert f"{name}, which exists" in refused(*words, stdin=stdin)
    assert call(*words, "--force", "--quiet", stdin=stdin).err == ""


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
def test_other_formats_are_written_without_settings(
    suffix: str, call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path, refused: Call
) -> None:
    out = tmp_path / f"out{suffix}"
    assert call("texture", pictures.style, "-o", out, "--size", "20x16").code == 0
    with Image.open(out) as image:
        assert image.size == (20, 16)
    assert str(out) in refused("texture", "--from", out, "-o", tmp_path / "again.png")


def test_an_earlier_result_is_replaced_with_force_alone(
    call: Call, refused: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    (tmp_path / "out.png").write_bytes(b"an earlier result")
    (tmp_path / "h.csv").write_text("an earlier history")
    arguments = ("texture", pictures.style, "-o", tmp_path / "out.png", "--history",
                 tmp_path / "h.csv", "--size", 16)  # fmt: skip
    assert "out.png, which exists" in refused(*arguments)
    assert fake_tasks.recipes == []
    assert call(*arguments, "--force").code == 0
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (16, 16)
    header, *rows = (tmp_path / "h.csv").read_text().splitlines()
    assert header == "iteration,evaluations,seconds,loss,term"
    assert [row.split(",")[0] for row in rows] == ["0", "1", "2", "3"]


def test_a_recipe_file_decides_the_network_and_names_it(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"schema_version": 1, "name": "mine", "seed": 5}))
    run = call("invert", pictures.content, "--layer", "conv1_1", "-o", tmp_path / "out.png",
               "--network", recipe, "--json")  # fmt: skip
    assert run.json["network"] == "mine"
    (used,) = fake_tasks.recipes
    assert (used.name, used.seed, used.pooling) == ("mine", 5, "avg")


def test_names_that_are_no_text_work_and_are_kept(
    call: Call, pictures: Any, fake_tasks: Any, tmp_path: Path
) -> None:
    source = tmp_path / "Stra\udcdfe.png"  # a byte that is no UTF-8, as Python passes it on
    source.write_bytes(pictures.style.read_bytes())
    out = tmp_path / "M\udcfcnster.png"
    run = call("texture", source, "-o", out, "--size", 16, "--json")
    assert (run.code, run.json["output"]) == (0, str(out))
    again = tmp_path / "again.png"
    assert call("texture", "--from", out, "-o", again).code == 0
    assert again.read_bytes() == out.read_bytes()
