"""`rwgen.stylize`: what it takes, and what its result is."""

import io
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import rwgen
from rwgen.cli.main import main
from rwgen.images import read_metadata
from rwgen.optimize.config import OptimizerConfig
from rwgen.progress import live_console
from rwgen.provenance import options_of

SHALLOW = {"content_layers": "conv1_1", "style_layers": ["conv1_1"], "octaves": 0}
pytestmark = pytest.mark.usefixtures("eager_module")


def picture(height, width, seed):
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for seed, name in enumerate(("photo", "painting", "other", "start")):
        Image.fromarray(picture(36, 48, seed)).save(folder / f"{name}.png")
    return folder


def stylize(*images, **rest):
    return rwgen.stylize(*images, **{"size": 40, "iterations": 3, "quiet": True, **SHALLOW, **rest})


@pytest.fixture(scope="module")
def result(files):
    return stylize(files / "photo.png", str(files / "painting.png"), content_weight=80)


def test_the_result_is_what_the_command_writes(result, files, tmp_path):
    command = ["style", files / "photo.png", files / "painting.png", "-o", tmp_path / "c.png"]
    options = ["--size", 40, "--iterations", 3, "--content-weight", 80, "--octaves", 0]
    layers = ["--content-layer", "conv1_1", "--style-layer", "conv1_1", "-q"]
    assert main([str(word) for word in [*command, *options, *layers]]) == 0
    with Image.open(tmp_path / "c.png") as image:
        np.testing.assert_array_equal(np.asarray(image), result.image)
    assert result.image.dtype == np.uint8
    assert result.image.shape == (30, 40, 3)
    np.testing.assert_array_equal(result.image, np.clip(np.rint(result.solution.image), 0, 255))


def test_a_saved_image_can_be_made_again_by_the_command(result, files, tmp_path):
    result.save(tmp_path / "saved.png")
    result.save(str(tmp_path / "saved.png"))  # replaced, as a cell that runs again does
    assert "rwgen" in read_metadata(tmp_path / "saved.png")
    again = tmp_path / "again.png"
    assert main(["style", "--from", str(tmp_path / "saved.png"), "-o", str(again), "-q"]) == 0
    np.testing.assert_array_equal(rwgen.read_image(again), result.image)


def test_a_start_and_a_blend_are_saved_too(files, tmp_path):
    paths = [files / f"{name}.png" for name in ("photo", "painting", "other", "start")]
    made = stylize(*paths[:3], init=paths[3], style_blend=(2, 1), seed=5)
    made.save(tmp_path / "saved.png")
    again = tmp_path / "again.png"
    assert main(["style", "--from", str(tmp_path / "saved.png"), "-o", str(again), "-q"]) == 0
    np.testing.assert_array_equal(rwgen.read_image(again), made.image)
    assert not np.array_equal(made.image, stylize(*paths[:3], style_blend=(2, 1)).image)


def test_a_start_may_be_noise(files, tmp_path):
    paths = files / "photo.png", files / "painting.png"
    seeds = [stylize(*paths, init="noise", seed=seed, iterations=1) for seed in (0, 1)]
    assert not np.array_equal(*(made.image for made in seeds))
    assert seeds[0].provenance.options["init"] == "noise"


def test_it_displays_itself_as_a_png(result, tmp_path):
    with Image.open(io.BytesIO(result._repr_png_())) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), result.image)
    assert repr(result).startswith("<Stylized 40x30, 3 iterations, loss ")
    result.save(tmp_path / "a.webp")
    np.testing.assert_array_equal(rwgen.read_image(tmp_path / "a.webp"), result.image)


def test_curves_are_a_figure_of_the_losses(result):
    steps = result.solution.history
    history = result.history
    assert list(history) == ["iteration", "loss", "content", "style", "tv"]
    assert history["iteration"] == [0, 1, 2, 3]
    assert history["style"] == [step.terms["style"] for step in steps]
    figure = result.curves()
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert set(lines) == set(history) - {"iteration"}
    for name, line in lines.items():
        np.testing.assert_array_equal(line.get_ydata(), history[name])
        np.testing.assert_array_equal(line.get_xdata(), history["iteration"])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_curves_are_data_without_matplotlib(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "rwgen.notebook.chart", raising=False)
    assert result.curves() == result.history


@pytest.mark.parametrize("form", ["array", "float", "pillow", "tensor", "result"])
def test_images_may_have_any_form(form, files, result):
    pixels = picture(36, 48, 1)
    given = {
        "array": pixels,
        "float": pixels.astype(np.float64),
        "pillow": Image.fromarray(pixels),
        "tensor": tf.constant(pixels),
    }
    style = given.get(form, result)
    same = files / "painting.png" if form != "result" else result.image
    found, expected = (stylize(files / "photo.png", image, iterations=1) for image in (style, same))
    np.testing.assert_array_equal(found.image, expected.image)
    assert found.provenance is None  # which only files have


def test_several_styles_may_be_a_list_or_a_batch(files):
    photo = files / "photo.png"
    pixels = [picture(36, 48, seed) for seed in (1, 2)]
    calls = [pixels], [np.stack(pixels)], [tf.stack(pixels)], pixels
    first, *others = (stylize(photo, *styles, iterations=1).image for styles in calls)
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"content_wieght": 3}, r"setting such as content_weight\. Received: content_wieght"),
        ({"qqq": 3}, r"one of .*content_weight"),
        ({"size": 0}, "size"),
        ({"iterations": -1}, "max_iterations"),
        ({"content_weight": -1}, "content_weight"),
    ],
)
def test_wrong_settings_are_refused_by_name(change, expected, files):
    with pytest.raises(rwgen.InvalidInputError, match=expected):
        stylize(files / "photo.png", files / "painting.png", **change)


def test_wrong_images_are_refused_with_a_hint(files):
    photo = files / "photo.png"

    class OnTheGpu:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu()")

    for style, expected in (
        (picture(36, 48, 1) / 255, "Multiply values in 0..1 by 255"),
        (tf.constant(picture(36, 48, 1) / 255, tf.float32), "Multiply values in 0..1 by 255"),
        (OnTheGpu(), r"cuda:0 device type tensor to numpy\. Use Tensor\.cpu"),
        (np.zeros((3, 20, 30)), r"\[height, width, 3\]\. Received: \(3, 20, 30\)"),
        ("missing.png", "missing.png"),
        ([], "at least one style image"),
    ):
        with pytest.raises(rwgen.InvalidInputError, match=expected):
            stylize(photo, style)
    with pytest.raises(rwgen.InvalidInputError, match="at least one style"):
        stylize(photo)


def test_callers_may_stop_it_and_see_the_lines_of_its_progress(files, capsys):
    seen = []

    def stop(step, best):
        seen.append(best().shape)
        return step.iteration == 1

    made = stylize(files / "photo.png", files / "painting.png", callback=stop, quiet=False)
    assert (made.solution.iterations, seen) == (1, [(30, 40, 3)] * 2)
    assert capsys.readouterr().out == ""


def test_other_networks_and_optimizers_leave_no_settings_that_would_not_fit(files, small_network):
    paths = files / "photo.png", files / "painting.png"
    config = rwgen.StyleConfig(optimizer=OptimizerConfig(line_search="hager_zhang"))
    assert stylize(*paths, config=config, iterations=1).provenance is None
    assert stylize(*paths, network=small_network(), iterations=1).provenance is None
    recipe = rwgen.Recipe(name="tiny", blocks=((3, 1),), kernel_stddev=0.3)
    assert stylize(*paths, network=recipe, iterations=1).provenance.recipe == recipe


def test_every_setting_is_an_option_of_the_command():
    from rwgen.cli.style import StyleSettings

    defaults = StyleSettings()
    for name, value in options_of(rwgen.StyleConfig()).items():
        assert name in vars(defaults)
        if not name.endswith("_layer"):
            assert getattr(defaults, name) == value


@pytest.mark.parametrize("has_widgets", [True, False])
def test_a_notebook_shows_a_bar_where_it_has_widgets(has_widgets, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", object())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: has_widgets or None)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    console = live_console()
    assert (console is not None and console.is_jupyter) == has_widgets
