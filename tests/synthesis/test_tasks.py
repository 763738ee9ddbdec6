"""The three tasks on small images, with the shipped networks."""

import dataclasses

import keras
import numpy as np
import pytest
from skimage import data

import rwgen
from rwgen import (
    InvalidInputError,
    InversionConfig,
    LayerError,
    OptimizerConfig,
    StyleConfig,
    TextureConfig,
)
from rwgen.noise import white_noise
from rwgen.synthesis import tasks
from rwgen.synthesis.colors import match_colors


def optimizer(iterations):
    return OptimizerConfig(max_iterations=iterations)


def picture(height, width, of=data.coffee):
    return rwgen.resize_image(of().astype(np.float32), height, width)


def psnr(image, other):
    return 10 * np.log10(255**2 / np.mean((np.clip(image, 0, 255) - other) ** 2))


def test_a_shallow_layer_is_inverted_almost_exactly():
    image = picture(32, 32)
    solution = rwgen.invert(image, "conv1_1", config=InversionConfig(optimizer=optimizer(60)))
    assert psnr(solution.image, image) > 40
    assert solution.image.shape == image.shape
    assert set(solution.terms) == {"content"}


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "least"), [("conv1_1", 40), ("conv3_1", 25)])
def test_a_photo_of_128_pixels_is_inverted_in_100_iterations(layer, least):
    image = picture(128, 128, data.astronaut)
    solution = rwgen.invert(image, layer, config=InversionConfig(optimizer=optimizer(100)))
    assert solution.iterations <= 100
    assert psnr(solution.image, image) > least


def gram(image):
    """Second moments of color and its horizontal change: a texture statistic of no network."""
    change = np.diff(image / 255, axis=1).reshape(-1, 3)
    colour = (image / 255).reshape(-1, 3)
    return np.concatenate([change.T @ change / len(change), colour.T @ colour / len(colour)])


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("network", "most"),
    # So small a picture cannot have all 16,512 numbers of a pyramid's Gram matrices.
    [("ranvgg19-half-width", 0.01), ("ranpyramid", 0.05)],
)
def test_a_texture_of_another_size_comes_near_the_statistics_of_its_source(network, most):
    source = picture(48, 40, lambda: np.repeat(data.gravel()[:192, :160, None], 3, axis=2))
    layers = ("conv1_1", "conv2_1")
    config = TextureConfig(network=network, layers=layers, optimizer=optimizer(40), margin=0)
    solution = rwgen.synthesize_texture(source, (32, 56), config=config)
    assert solution.image.shape == (32, 56, 3)
    assert solution.loss < most * solution.initial_loss
    noise = white_noise(0, (32, 56, 3))
    before, after = (np.linalg.norm(gram(x) - gram(source)) for x in (noise, solution.image))
    assert after < 0.2 * before


STYLE = StyleConfig(
    content_layers=("conv1_1",), style_layers=("conv1_1", "conv2_1"), optimizer=optimizer(15)
)


@pytest.mark.usefixtures("eager")
def test_style_transfer_takes_styles_of_other_sizes_and_more_weight_keeps_more_content():
    """In its own colors, of which the content's fidelity in pixels would say little otherwise."""
    content = picture(32, 40, data.astronaut)
    styles = [picture(24, 36), picture(40, 20, lambda: data.coffee()[::-1])]
    near, far = (
        rwgen.transfer_style(
            content,
            styles,
            config=dataclasses.replace(STYLE, content_weight=weight, colors="mixed", init="noise"),
        )
        for weight in (100_000, 1)
    )
    assert near.image.shape == far.image.shape == content.shape
    assert set(near.terms) == {"content", "style", "tv"}
    assert near.loss == pytest.approx(sum(near.terms.values()), rel=1e-5)
    assert psnr(near.image, content) > psnr(far.image, content) + 5


def test_a_style_transfer_starts_from_the_content_in_the_colors_of_the_styles():
    content = picture(32, 40, data.astronaut)
    styles = [picture(24, 36), picture(40, 20, lambda: data.coffee()[::-1])]
    expected = match_colors(content, styles, (0.25, 0.75))
    config = dataclasses.replace(STYLE, style_blend=(1, 3), octaves=0)
    ways = {
        "content": (config, None, expected),
        "photo": (dataclasses.replace(config, colors="mixed"), None, content),
        "given": (config, content, content),
    }
    for start, init, first in ways.values():
        solution = rwgen.transfer_style(
            content,
            styles,
            config=start,
            init=init,
            callback=lambda step, _best: step.iteration == 0,
        )
        np.testing.assert_allclose(solution.image, np.clip(first, 0, 255), atol=1e-3)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("colors", ["content", "content-after"])
def test_the_photo_keeps_its_colors_in_every_image_that_is_shown(colors):
    content, style = picture(32, 40, data.astronaut), picture(32, 32)
    seen = []
    config = dataclasses.replace(STYLE, colors=colors, octaves=0, optimizer=optimizer(2))
    solution = rwgen.transfer_style(
        content, style, config=config, callback=lambda step, best: seen.append(best())
    )
    weights = np.array([0.299, 0.587, 0.114])
    for image in (*seen, solution.image):
        chroma, own = (x - (x @ weights)[..., np.newaxis] for x in (image, content))
        np.testing.assert_allclose(chroma, own, atol=1e-3)
    assert np.abs((solution.image - content) @ weights).max() > 10
    np.testing.assert_array_equal(seen[-1], solution.image)


HALVES = np.zeros((32, 32), np.uint8)
HALVES[:, 16:] = 255


@pytest.mark.usefixtures("eager")
def test_each_region_has_the_colors_of_its_style_and_swapped_regions_swap_styles():
    """From noise and without content, so that nothing but guided statistics paints regions."""
    content = picture(32, 32)
    red, blue = (np.zeros((32, 32, 3)) for _ in range(2))
    noise = np.random.default_rng(0).uniform(60, 250, (32, 32))
    red[..., 0], blue[..., 2] = noise, noise
    config = dataclasses.replace(STYLE, content_weight=0, init="noise", colors="mixed", octaves=0)

    def redness(styles, mask, style_masks=()):
        image = rwgen.transfer_style(
            content, styles, config=config, content_mask=mask, style_masks=style_masks
        ).image
        return [(half[..., 0] - half[..., 2]).mean() for half in (image[:, :14], image[:, 18:])]

    for left, right in (redness([red, blue], HALVES), redness([blue, red], 255 - HALVES)):
        assert left > 40
        assert right < -40
    # One painting whose upper half is red, for the region that its mask says.
    both = np.concatenate([red[:16], blue[:16]])
    left, right = redness(both, HALVES, 255 - HALVES.T)
    assert left < -40
    assert right > 40


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("colors", ["style", "content"])
def test_a_mask_of_one_region_is_none(colors):
    content, styles = picture(32, 40, data.astronaut), [picture(36, 32), picture(40, 48)]
    config = dataclasses.replace(
        STYLE, style_blend=(1, 2), octaves=0, optimizer=optimizer(2), colors=colors
    )
    masks = {
        "content_mask": np.full((16, 20), 255),
        "style_masks": [np.full(style.shape[:2], 255) for style in styles],
    }
    plain, masked = (
        rwgen.transfer_style(content, styles, config=config, **rest) for rest in ({}, masks)
    )
    assert masked.initial_loss == pytest.approx(plain.initial_loss, rel=1e-6)
    np.testing.assert_allclose(masked.image, plain.image, atol=0.01)


def test_the_scale_of_a_style_is_that_of_a_style_of_that_size():
    content, style = picture(32, 40, data.astronaut), picture(60, 48)
    config = dataclasses.replace(STYLE, octaves=0)

    def loss(style, **settings):
        first = dataclasses.replace(config, **settings)
        return rwgen.transfer_style(
            content, style, config=first, callback=lambda _step, _best: True
        ).initial_loss

    half = rwgen.resize_image(style, 40, 32)
    assert loss(style, style_scale=(1.0,)) == loss(half)
    assert loss(style, style_scale=(1.5,)) == loss(style)
    assert loss(style, style_scale=(1e300,)) == loss(style)  # not enlarged
    both = [style, content]
    assert loss(both, style_scale=(1.0, 0.9)) == loss([half, rwgen.resize_image(content, 29, 36)])
    with pytest.raises(InvalidInputError, match="one style_scale number for each of the 1 style"):
        loss(style, style_scale=(1.0, 2.0))


def shades_of_blends(content, red, blue, config):
    """How much redder than blue the results of three blends are."""
    shades = []
    for blend in ((1, 0), (1, 1), (0, 1)):
        config = dataclasses.replace(config, style_blend=blend, content_weight=0)
        image = rwgen.transfer_style(content, [red, blue], config=config).image
        shades.append(image[..., 0].mean() - image[..., 2].mean())
    return shades


@pytest.mark.usefixtures("eager")
def test_the_blend_moves_the_color_from_one_style_to_the_other():
    content = np.full((32, 32, 3), 128.0) + picture(32, 32) / 10
    red, blue = (np.zeros((32, 32, 3)) for _ in range(2))
    noise = np.random.default_rng(0).uniform(60, 250, (32, 32))
    red[..., 0], blue[..., 2] = noise, noise
    # A pyramid cannot tell half a picture of each from a picture that is all of either.
    config = dataclasses.replace(STYLE, network="ranvgg19-half-width")
    shades = shades_of_blends(content, red, blue, config)
    assert shades[0] > shades[1] + 20
    assert shades[1] > shades[2] + 20


@pytest.mark.usefixtures("eager")
def test_the_blend_moves_the_color_of_pictures():
    content = picture(32, 32)
    red, blue = (picture(32, 40, data.astronaut) * tint for tint in ([1, 0.7, 0.4], [0.4, 0.7, 1]))
    shades = shades_of_blends(content, red, blue, STYLE)
    assert shades[0] > shades[1] + 20
    assert shades[1] > shades[2] + 20


def test_a_compiled_search_ends_where_an_ordinary_graph_does():
    """With Winograd's algorithm in the former and direct convolutions in the latter."""
    content, style = picture(48, 64), picture(56, 48, data.astronaut)

    def found(jit_compile):
        own = OptimizerConfig(max_iterations=5, jit_compile=jit_compile)
        return rwgen.transfer_style(content, [style], config=StyleConfig(optimizer=own))

    compiled, graph = found(True), found(None)
    assert graph.loss == pytest.approx(compiled.loss, rel=1e-4)
    np.testing.assert_allclose(graph.image, compiled.image, atol=0.5)


@pytest.mark.usefixtures("eager")
def test_weights_of_zero_drop_their_terms():
    content = picture(32, 32)
    config = dataclasses.replace(STYLE, tv_weight=0, style_weight=0, optimizer=optimizer(1))
    assert set(rwgen.transfer_style(content, [content], config=config).terms) == {"content"}


@pytest.mark.usefixtures("eager")
def test_callbacks_see_pixels_and_totals_over_all_sizes():
    seen = []
    config = TextureConfig(layers=("conv1_1",), octaves=1, optimizer=optimizer(6))
    solution = rwgen.synthesize_texture(
        picture(64, 64), config=config, callback=lambda step, best: seen.append((step, best()))
    )
    assert [step.iteration for step, _ in seen] == [0, 1, 2, 3, 3, 4, 5, 6]
    assert all(image.shape == (64, 64, 3) for _, image in seen)
    assert 50 < seen[-1][1].mean() < 200
    assert solution.iterations == 6


@pytest.mark.usefixtures("eager")
def test_an_inversion_can_begin_on_a_smaller_image():
    image = picture(64, 96)
    config = InversionConfig(octaves=1, optimizer=optimizer(7))
    small = dataclasses.replace(config, octaves=0, optimizer=optimizer(3))
    large = dataclasses.replace(config, octaves=0, optimizer=optimizer(4))
    first = rwgen.invert(rwgen.resize_image(image, 32, 48), "conv2_1", config=small)
    begin = rwgen.resize_image(first.image.clip(0, 255), 64, 96)
    expected = rwgen.invert(image, "conv2_1", config=large, init=begin)
    solution = rwgen.invert(image, "conv2_1", config=config)
    np.testing.assert_array_equal(solution.image, expected.image)
    assert solution.iterations == 7
    assert solution.loss == expected.loss


@pytest.mark.usefixtures("eager")
def test_a_dense_layer_is_inverted():
    """An orthogonal dense layer keeps everything, so the image itself comes back."""
    pixels = keras.Input((16, 16, 3))
    flat = keras.layers.Flatten()(pixels)
    kernel = keras.initializers.Orthogonal(seed=1)
    features = keras.layers.Dense(768, kernel_initializer=kernel, name="fc6")(flat)
    network = keras.Model(pixels, features)
    image = picture(16, 16)
    config = InversionConfig(parameterization="pixel", optimizer=optimizer(30))
    solution = rwgen.invert(image, "fc6", network=network, config=config)
    assert psnr(solution.image, image) > 40


def dense_network():
    image = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, keras.layers.Dense(4, name="fc2")(pooled))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rwgen.invert(np.zeros((8, 8)), "conv1_1"), InvalidInputError, "shape"),
        (lambda: rwgen.invert(picture(8, 8), "pool5"), InvalidInputError, "at least 32"),
        (lambda: rwgen.invert(picture(64, 64), "fc6"), InvalidInputError, "256x256"),
        (lambda: rwgen.invert(picture(8, 8), "conv7"), LayerError, "conv7"),
        (
            lambda: rwgen.invert(picture(8, 8) * np.nan, "conv1_1"),
            InvalidInputError,
            "finite",
        ),
        (lambda: rwgen.transfer_style(picture(32, 32), []), InvalidInputError, "style"),
        (
            lambda: rwgen.synthesize_texture(
                picture(32, 32), network=dense_network(), config=TextureConfig(layers=("fc2",))
            ),
            LayerError,
            "conv or pool",
        ),
        (
            lambda: rwgen.transfer_style(picture(32, 32), [picture(32, 32)], init=picture(16, 16)),
            InvalidInputError,
            "init",
        ),
        (
            lambda: rwgen.synthesize_texture(picture(32, 32), (4, 4)),
            InvalidInputError,
            "at least 8",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: StyleConfig(content_weight=-1),
        lambda: StyleConfig(tv_weight=float("nan")),
        lambda: StyleConfig(content_weight=0, style_weight=0),
        lambda: StyleConfig(style_blend=(0, 0)),
        lambda: StyleConfig(style_layers=()),
        lambda: StyleConfig(style_layers=(1,)),
        lambda: StyleConfig(style_blend=(1,)).blend(2),
        lambda: TextureConfig(weighting="mean"),
        lambda: TextureConfig(octaves=-1),
        lambda: InversionConfig(octaves=-1),
        lambda: TextureConfig(seed=-1),
        lambda: InversionConfig(seed=1.5),
        lambda: OptimizerConfig(max_iterations=-1),
        lambda: OptimizerConfig(num_correction_pairs=0),
        lambda: OptimizerConfig(first_step=0),
        lambda: OptimizerConfig(line_search="newton"),
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidInputError, match="expected"):
        wrong()


def test_blends_are_shares_of_their_sum_even_where_it_overflows():
    assert StyleConfig(style_blend=(3, 1)).blend(2) == (0.75, 0.25)
    assert StyleConfig().blend(4) == (0.25,) * 4
    assert StyleConfig(style_blend=(1e308, 1e308)).blend(2) == (0.5, 0.5)


SHALLOW = ("conv1_1", "conv2_1")


def inversion(image, **rest):
    config = InversionConfig(optimizer=optimizer(20))
    return rwgen.invert(image, "conv2_1", config=config, **rest)


def texture(image, **rest):
    config = TextureConfig(layers=SHALLOW, optimizer=optimizer(20))
    return rwgen.synthesize_texture(image, config=config, **rest)


def style(image, **rest):
    config = dataclasses.replace(STYLE, optimizer=optimizer(20))
    return rwgen.transfer_style(image, [picture(40, 24)], config=config, **rest)


TASKS = pytest.mark.parametrize("task", [inversion, texture, style])


@TASKS
def test_the_loss_falls_below_a_fifth_in_20_iterations(task):
    solution = task(picture(32, 32, data.astronaut))
    assert solution.loss < solution.initial_loss / 5
    assert solution.loss == pytest.approx(sum(solution.terms.values()), rel=1e-5)
    assert solution.image.shape == (32, 32, 3)
    assert solution.image.dtype == np.float32


@pytest.mark.parametrize("size", [(0, 32), (32, 0), (-32, 32), (32.5, 32), (32,), (32, 32, 3)])
@pytest.mark.parametrize("own", [True, False], ids=["own network", "shipped network"])
def test_sizes_that_no_texture_can_have_are_refused(size, own):
    rest = {"network": rwgen.build_network(rwgen.Recipe(), "conv2_1")} if own else {}
    with pytest.raises(InvalidInputError, match="expected"):
        texture(picture(32, 32), size=size, **rest)


@pytest.mark.usefixtures("eager")
def test_coarse_textures_leave_out_layers_of_few_positions(monkeypatch):
    read = []
    objective = tasks.texture_objective

    def recorded(network, sources, config, *rest):
        read.append((sources[0].shape[1], config.layers))
        return objective(network, sources, config, *rest)

    monkeypatch.setattr(tasks, "texture_objective", recorded)
    layers = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    network = rwgen.build_network(rwgen.Recipe(blocks=((4, 1),) * 4), "conv4_1")
    config = TextureConfig(layers=layers, optimizer=optimizer(4))
    rwgen.synthesize_texture(picture(128, 144), 40, network=network, config=config)
    # Sides of 64 pixels at least, of the result too; 32 positions at least, but for the last size.
    assert read == [(128, layers)]
    read.clear()
    rwgen.synthesize_texture(picture(256, 288), 512, network=network, config=config)
    assert read == [(64, layers[:2]), (128, layers[:3]), (256, layers)]
    read.clear()
    deep = dataclasses.replace(config, layers=("conv4_1",))
    rwgen.synthesize_texture(picture(128, 144), network=network, config=deep)
    assert read == [(64, ("conv4_1",)), (128, ("conv4_1",))]
