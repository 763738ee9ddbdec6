"""What the tasks accept besides arrays, and what they say about the rest."""

import io

import numpy as np
import pytest
from PIL import Image

import rwgen
from rwgen import InvalidInputError, InversionConfig, OptimizerConfig, Recipe, StyleConfig

LAYERS = {"content_layers": ["conv2_1"], "style_layers": "conv1_1"}
pytestmark = pytest.mark.usefixtures("eager_module")


@pytest.fixture(scope="module")
def network(small_network):
    return small_network()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(4).integers(0, 256, (12, 16, 3), dtype=np.uint8)


@pytest.fixture(params=["list", "path", "text", "pillow", "gray", "float"])
def form(request, pixels, tmp_path):
    """An image in another form, and its pixels."""
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    gray = pixels[..., 0]
    return {
        "list": (pixels.tolist(), pixels),
        "path": (path, pixels),
        "text": (str(path), pixels),
        "pillow": (Image.fromarray(pixels), pixels),
        "gray": (Image.fromarray(gray), np.repeat(gray[..., np.newaxis], 3, axis=2)),
        "float": (pixels.astype(np.float64), pixels),
    }[request.param]


def at_the_start(_step, _best):
    return True


def test_images_may_have_any_form(form, network, pixels):
    image, same = form
    config = StyleConfig(**LAYERS, colors="style")
    calls = [
        lambda image: rwgen.invert(image, "conv2_1", network=network, callback=at_the_start),
        lambda image: rwgen.transfer_style(
            image, [image, pixels], network=network, config=config, callback=at_the_start
        ),
        lambda image: rwgen.transfer_style(
            pixels, image, network=network, config=config, callback=at_the_start
        ),
        lambda image: rwgen.synthesize_texture(
            image,
            16,
            network=network,
            config=rwgen.TextureConfig(layers=("conv1_1",)),
            callback=at_the_start,
        ),
        lambda image: rwgen.invert(
            pixels, "conv1_1", network=network, init=image, callback=at_the_start
        ),
    ]
    for call in calls:
        found, expected = call(image), call(same)
        assert found.initial_loss == expected.initial_loss
        np.testing.assert_array_equal(found.image, expected.image)


def test_a_batch_of_styles_is_several(network, pixels):
    config = StyleConfig(**LAYERS, style_blend=(2, 1))
    batch = np.stack([pixels, pixels[::-1]])
    found, expected = (
        rwgen.transfer_style(
            pixels, styles, network=network, config=config, callback=at_the_start
        ).initial_loss
        for styles in (batch, list(batch))
    )
    assert found == expected
    for none in ([], batch[:0]):
        with pytest.raises(InvalidInputError, match="at least one style image"):
            rwgen.transfer_style(pixels, none, network=network, config=config)


@pytest.mark.parametrize("source", ["recipe", "file"])
def test_a_network_may_be_a_name_or_a_recipe(source, pixels, tmp_path):
    recipe = Recipe(name="tiny", blocks=((3, 1),), kernel_stddev=0.3)
    (tmp_path / "tiny.json").write_text(recipe.to_json())
    network = recipe if source == "recipe" else str(tmp_path / "tiny.json")
    found, expected = (
        rwgen.invert(pixels, "conv1_1", network=given, callback=at_the_start).initial_loss
        for given in (network, rwgen.build_network(network))
    )
    assert found == expected
    with pytest.raises(rwgen.RecipeError, match="expected a network"):
        rwgen.invert(pixels, "conv1_1", network="vgg")


def test_floats_from_0_to_1_are_refused_with_a_hint(network, pixels):
    light = pixels.astype(np.float32) / 255
    black = np.zeros((12, 16, 3), np.float32)
    for call in (
        lambda image: rwgen.invert(image, "conv1_1", network=network, callback=at_the_start),
        lambda image: rwgen.transfer_style(image, pixels, network=network, callback=at_the_start),
        lambda image: rwgen.transfer_style(pixels, image, network=network, callback=at_the_start),
        lambda image: rwgen.synthesize_texture(image, network=network, callback=at_the_start),
    ):
        with pytest.raises(InvalidInputError, match=r"floats from 0 to 1\. .* by 255"):
            call(light)
    rwgen.invert(black, "conv1_1", network=network, callback=at_the_start)


def test_what_is_no_image_is_refused_in_a_short_line(network, pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).resize((300, 300)).save(file, "BMP")
    for image in ("none.png", "x" * 5000, [[1, 2], [3]], 5, None, pixels[..., :2], np.nan * pixels,
                  Image.new("F", (8, 8)), {"a": 1}):  # fmt: skip
        with pytest.raises(InvalidInputError) as caught:
            rwgen.invert(image, "conv1_1", network=network)
        assert len(str(caught.value)) <= 300
    with pytest.raises(InvalidInputError, match="BytesIO") as caught:
        rwgen.read_image(file.getvalue())
    assert len(str(caught.value)) <= 300


def test_numbers_of_numpy_are_numbers(tmp_path):
    seed = np.int64(3)
    config = InversionConfig(seed=seed, optimizer=OptimizerConfig(max_iterations=np.int32(5)))
    assert config == InversionConfig(seed=3, optimizer=OptimizerConfig(max_iterations=5))
    assert (type(config.seed), type(config.optimizer.max_iterations)) == (int, int)
    weights = np.array([2, 1])
    blended = StyleConfig(style_blend=weights, tv_weight=np.float32(2), style_layers=["conv1_1"])
    assert blended.style_blend == (2, 1)
    assert type(blended.style_blend[0]) is int
    assert (type(blended.tv_weight), blended.style_layers) == (float, ("conv1_1",))
    recipe = Recipe(seed=seed)
    assert Recipe.from_json(recipe.to_json()) == recipe == Recipe(seed=3)
    with pytest.raises(InvalidInputError, match="seed"):
        InversionConfig(seed=np.int64(-1))
