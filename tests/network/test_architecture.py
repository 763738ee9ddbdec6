"""The topology against the literature: names, parameter counts, shapes, smallest images."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwgen import InvalidInputError, LayerError
from rwgen.network.architecture import (
    ARCHITECTURES,
    MAX_BLOCKS,
    MAX_CHANNELS,
    MAX_PARAMETERS,
    MAX_WIDTH,
    VGG19,
    Architecture,
)

PAPER_NAMES = [
    "conv1_1",
    "conv1_2",
    "pool1",
    "conv2_1",
    "conv2_2",
    "pool2",
    "conv3_1",
    "conv3_2",
    "conv3_3",
    "conv3_4",
    "pool3",
    "conv4_1",
    "conv4_2",
    "conv4_3",
    "conv4_4",
    "pool4",
    "conv5_1",
    "conv5_2",
    "conv5_3",
    "conv5_4",
    "pool5",
    "fc6",
    "fc7",
    "fc8",
]
NAMES = st.sampled_from(PAPER_NAMES)
SPATIAL = [name for name in PAPER_NAMES if not name.startswith("fc")]


def test_layers_are_those_of_the_paper_in_forward_order():
    assert [spec.name for spec in VGG19.layers()] == PAPER_NAMES
    assert {"vgg19": VGG19} == ARCHITECTURES


def test_convolutions_have_16_layers_of_20_million_parameters():
    convolutions = [spec for spec in VGG19.layers() if spec.kind == "conv"]
    assert len(convolutions) == 16
    # `keras.applications.VGG19(include_top=False)` reports this total.
    assert sum(VGG19.num_parameters(spec.name) for spec in convolutions) == 20_024_384
    assert all(VGG19.num_parameters(name) == 0 for name in SPATIAL if name.startswith("pool"))


@pytest.mark.parametrize(("side", "total"), [(224, 143_667_240), (256, 175_124_520)])
def test_the_total_is_that_of_simonyan_and_zisserman_once_fc6_is_taken_at_their_size(side, total):
    """At 224 pixels, fc6 sees 7x7 positions instead of the 8x8 of 256 pixels."""
    ours = sum(VGG19.num_parameters(name) for name in PAPER_NAMES)
    difference = (8 * 8 - (side // 32) ** 2) * 512 * 4096
    assert ours - difference == total


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv1_1", (3, 3, 3, 64)),
        ("conv1_2", (3, 3, 64, 64)),
        ("conv3_1", (3, 3, 128, 256)),
        ("conv5_4", (3, 3, 512, 512)),
        ("pool5", None),
        ("fc6", (8 * 8 * 512, 4096)),
        ("fc7", (4096, 4096)),
        ("fc8", (4096, 1000)),
    ],
)
def test_kernel_shapes(name, shape):
    assert VGG19.kernel_shape(name) == shape
    assert VGG19.num_parameters(name) == (math.prod(shape) + shape[-1] if shape else 0)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("block1_conv1", "conv1_1"),
        ("block5_conv4", "conv5_4"),
        ("block3_pool", "pool3"),
        ("fc1", "fc6"),
        ("fc2", "fc7"),
        ("predictions", "fc8"),
    ],
)
def test_the_names_of_keras_are_aliases(alias, name):
    assert VGG19.layer(alias) == VGG19.layer(name)
    assert VGG19.up_to(alias)[-1].name == name
    assert VGG19.output_shape(alias, 256, 256) == VGG19.output_shape(name, 256, 256)


@pytest.mark.parametrize("name", ["conv1_3", "block1_conv3", "pool6", "fc5", "", "Conv1_1", 4])
def test_an_unknown_layer_is_answered_with_those_that_exist(name):
    with pytest.raises(LayerError) as caught:
        VGG19.layer(name)
    message = str(caught.value)
    assert "conv1_1, conv1_2, pool1" in message
    assert message.endswith(f"Received: {name!r}")
    assert len(message.splitlines()) == 1


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_the_deepest_layer_has_all_others_before_it(names):
    deepest = VGG19.deepest(names)
    assert PAPER_NAMES.index(deepest.name) == max(map(PAPER_NAMES.index, names))
    before = PAPER_NAMES[: PAPER_NAMES.index(deepest.name) + 1]
    assert [spec.name for spec in VGG19.up_to(deepest.name)] == before


def test_the_deepest_of_no_layers_is_refused():
    with pytest.raises(LayerError, match="none"):
        VGG19.deepest([])


@given(st.sampled_from(SPATIAL), st.integers(1, 700), st.integers(1, 700))
def test_every_pool_halves_and_drops_an_odd_row_or_column(name, height, width):
    rows, columns, channels = height, width, 3
    for layer in PAPER_NAMES[: PAPER_NAMES.index(name) + 1]:
        if layer.startswith("pool"):
            rows, columns = rows // 2, columns // 2
        else:
            channels = {"1": 64, "2": 128, "3": 256}.get(layer[4], 512)
    assert VGG19.output_shape(name, height, width) == (rows, columns, channels)


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("conv1_2", (37, 41), (37, 41, 64)),
        ("pool1", (37, 41), (18, 20, 64)),
        ("conv3_1", (37, 43), (9, 10, 256)),
        ("pool5", (63, 96), (1, 3, 512)),
        ("fc6", (256, 256), (4096,)),
        ("fc8", (256, 256), (1000,)),
    ],
)
def test_output_shapes(name, size, shape):
    assert VGG19.output_shape(name, *size) == shape


@pytest.mark.parametrize("name", SPATIAL)
def test_the_smallest_image_is_the_smallest_that_leaves_a_position(name):
    side = VGG19.minimum_side([name])
    assert min(VGG19.output_shape(name, side, side)) >= 1
    assert min(VGG19.output_shape(name, side - 1, side)) == 0
    VGG19.check_image_size([name], (side, side, 3), "an image")
    with pytest.raises(InvalidInputError, match=f"at least {side} .*{name}.*{side}x{side - 1}"):
        VGG19.check_image_size([name, "conv1_1"], (side - 1, side, 3), "an image")


@pytest.mark.parametrize("size", [(255, 256), (256, 512), (32, 32)])
def test_dense_layers_take_one_size(size):
    VGG19.check_image_size(["conv1_1", "fc7"], (256, 256), "an image")
    with pytest.raises(InvalidInputError, match=f"256x256 .*fc7.*{size[1]}x{size[0]}"):
        VGG19.check_image_size(["conv1_1", "fc7"], size, "an image")


def test_an_architecture_may_end_without_dense_layers():
    small = Architecture("small", ((4, 1), (6, 2)))
    assert [(spec.name, spec.units) for spec in small.layers()] == [
        ("conv1_1", 4),
        ("pool1", 4),
        ("conv2_1", 6),
        ("conv2_2", 6),
        ("pool2", 6),
    ]
    assert small.kernel_shape("conv2_1") == (3, 3, 4, 6)


@pytest.mark.parametrize(
    ("width", "channels", "dense"),
    [
        (1, (64, 128, 256, 512, 512), (4096, 4096, 1000)),
        (0.5, (32, 64, 128, 256, 256), (2048, 2048, 1000)),
        (0.03, (2, 4, 8, 15, 15), (123, 123, 1000)),  # 1.92, 3.84, 7.68, 15.36, 122.88
        (1e-9, (1, 1, 1, 1, 1), (1, 1, 1000)),
        (4, (256, 512, 1024, 2048, 2048), (16384, 16384, 1000)),
    ],
)
def test_a_width_scales_all_channels_but_the_classes(width, channels, dense):
    scaled = VGG19.scaled(width)
    assert scaled.blocks == tuple(zip(channels, (2, 2, 4, 4, 4), strict=True))
    assert scaled.dense_units == dense
    assert [spec.name for spec in scaled.layers()] == PAPER_NAMES
    assert scaled.kernel_shape("conv3_1") == (3, 3, channels[1], channels[2])
    assert scaled.kernel_shape("fc6") == (8 * 8 * channels[-1], dense[0])
    with pytest.raises(LayerError, match=f"a layer of vgg19 of width {width:g} "):
        scaled.layer("conv6_1")


def test_the_widest_network_is_within_the_limits():
    widest = VGG19.scaled(MAX_WIDTH)
    assert max(channels for channels, _ in widest.blocks) == MAX_CHANNELS
    assert sum(map(widest.num_parameters, PAPER_NAMES)) < MAX_PARAMETERS


@pytest.mark.parametrize("count", range(1, MAX_BLOCKS + 1))
def test_other_blocks_have_dense_layers_for_256_pixels(count):
    topology = VGG19.with_blocks(((3, 2),) * count)
    first = f"fc{count + 1}"
    assert [spec.name for spec in topology.layers()][-4:] == [
        f"pool{count}", first, f"fc{count + 2}", f"fc{count + 3}",
    ]  # fmt: skip
    side = 256 // 2**count
    assert topology.kernel_shape(first) == (side * side * 3, 4096)
    assert topology.minimum_side([f"pool{count}"]) == 2**count
    topology.check_image_size([first], (256, 256), "an image")
    with pytest.raises(LayerError, match=r"vgg19 with other blocks \(conv1_1, conv1_2, pool1, "):
        topology.layer("conv1_3")


def test_of_equal_names_in_the_paper_and_in_keras_the_papers_counts():
    topology = VGG19.with_blocks(((3, 1),))
    assert topology.layer("fc1") == topology.layer("fc2")
    assert topology.layer("fc3").keras_name == "fc2"
    assert topology.layer("fc2").keras_name == "fc1"


def test_dense_layers_are_numbered_on_from_the_blocks_and_the_last_is_keras_predictions():
    small = Architecture("small", ((4, 1), (6, 1)), (5, 7))
    names = [(spec.name, spec.keras_name) for spec in small.layers()[-2:]]
    assert names == [("fc3", "fc1"), ("fc4", "predictions")]
    assert small.kernel_shape("fc3") == (64 * 64 * 6, 5)
