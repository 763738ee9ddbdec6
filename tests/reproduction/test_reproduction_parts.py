"""Keys cover everything that determines a part, pictures are squares, and work is counted."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from rwgen import InvalidInputError, Recipe, load_recipe
from rwgen.network.architecture import VGG19
from rwgen.reproduction.estimate import Costs, estimate, multiply_adds, search_work
from rwgen.reproduction.parts import Inversion, Search, Stack, Style, Texture, part_key
from rwgen.reproduction.pictures import Picture, PictureSource
from rwgen.reproduction.quality import coarse_correlation, distance_of_plain, mean_distance
from rwgen.reproduction.scale import FULL, QUICK
from rwgen.reproduction.store import PartResult


def picture(side=64, digest="a" * 64, name="cat"):
    return Picture("photo", name, None, side, digest)


def inversion(**values):
    fields = {"picture": picture(), "network": Recipe(), "layer": "conv2_1", "iterations": 8}
    return Inversion(**{**fields, **values})


STACK = Stack(
    reference=picture(), base=Recipe(), layers=("conv1_1",), candidates=2, iterations=5, seed=1
)


def test_a_key_is_the_same_in_another_process():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_reproduction_parts as t;"
        "print(t.part_key(t.inversion(network=t.STACK)))"
    )
    folder = __file__.rpartition("/")[0]
    result = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    )
    assert result.stdout.split()[-1] == part_key(inversion(network=STACK))


@pytest.mark.parametrize(
    "change",
    [
        {"picture": picture(digest="b" * 64)},
        {"layer": "conv2_2"},
        {"iterations": 9},
        {"seed": 1},
        {"snapshots": (2,)},
        {"network": Recipe(seed=1)},
        {"network": STACK},
        {"network": dataclasses.replace(STACK, candidates=3)},
        {"network": dataclasses.replace(STACK, reference=picture(digest="b" * 64))},
    ],
)
def test_whatever_determines_a_part_changes_its_key(change):
    assert part_key(inversion(**change)) != part_key(inversion())


def test_names_and_places_do_not_change_a_key():
    named = inversion(network=Recipe(name="other"), picture=picture(name="dog"))
    assert part_key(named) == part_key(inversion())
    files = [
        Recipe(weights=path, weights_file_sha256="c" * 64, kernel_stddev=0, bias_stddev=0)
        for path in ("a/vgg.h5", "b/vgg.h5")
    ]
    assert len({part_key(inversion(network=recipe)) for recipe in files}) == 1


def test_parts_of_each_kind_have_different_keys():
    texture = Texture(source=picture(), network=Recipe(), layers=("conv1_1",), iterations=8)
    style = Style(content=picture(), painting=picture(), network=Recipe(), iterations=8)
    keys = [part_key(part) for part in (inversion(), texture, style, STACK)]
    assert [key.partition("-")[0] for key in keys] == ["invert", "texture", "style", "stack"]


def test_searches_divide_their_iterations_like_the_task():
    (search,) = inversion(picture=picture(side=256), iterations=25).searches
    assert search == Search("conv2_1", ((128, 12), (256, 13)))
    (search,) = inversion(picture=picture(side=256), layer="fc6", iterations=25).searches
    assert search == Search("fc6", ((256, 25),))
    assert len(STACK.searches) == 2


def test_multiply_adds_are_counted():
    by_hand = 8 * 8 * 9 * 3 * 64 + 8 * 8 * 9 * 64 * 64 + 4 * 4 * 9 * 64 * 128
    assert multiply_adds("conv2_1", 8) == by_hand
    dense = 8 * 8 * 512 * 4096
    assert multiply_adds("fc6", 256) - multiply_adds("pool5", 256) == dense
    assert search_work(Search("conv2_1", ((8, 3), (16, 2)))) == 3 * by_hand + 2 * 4 * by_hand


def test_work_is_that_of_the_networks_width():
    half = Recipe(width=0.5)
    texture = Texture(source=picture(side=8), network=half, layers=("conv2_1",), iterations=8)
    parts = (texture, inversion(network=half), dataclasses.replace(STACK, base=half))
    assert {search.topology for part in parts for search in part.searches} == {half.topology}
    # A margin of one pixel on each side.
    by_hand = 10 * 10 * 9 * 3 * 32 + 10 * 10 * 9 * 32 * 32 + 5 * 5 * 9 * 32 * 64
    (search,) = texture.searches
    assert search_work(search) == 8 * by_hand


def test_costs_equal_the_measured_ones_and_grow_with_the_work():
    part = inversion(picture=picture(side=32), iterations=10)
    result = PartResult("k", None, {}, {}, seconds=7.0, seconds_per_evaluation=0.5)
    costs = Costs.measured([(part, result)])
    assert costs.seconds(part) == pytest.approx(7.0)
    assert costs.seconds(dataclasses.replace(part, iterations=20)) == pytest.approx(12.0)
    larger = dataclasses.replace(part, picture=picture(side=64))
    assert costs.seconds(larger) == pytest.approx(2 + 4 * 5)
    texture = Texture(source=picture(), network=Recipe(), layers=("conv1_1",), iterations=8)
    assert costs.seconds(texture) is None
    found = estimate([part, larger, texture, STACK], costs)
    assert found.parts == 4
    assert found.unknown == ("texture",)
    assert found.seconds == pytest.approx(7 + 22 + found.seconds_by_kind["stack"])
    deeper = dataclasses.replace(part, layer="pool5", picture=picture(side=32))
    rate = 0.5 / multiply_adds("conv2_1", 32)
    assert costs.seconds(deeper) == pytest.approx(2 + 10 * rate * multiply_adds("pool5", 32))


def test_shipped_pictures_are_squares_in_files(tmp_path):
    source = PictureSource(tmp_path / "inputs")
    found = source.get("texture", 0, 40)
    assert not found.path.exists()
    source.write([found])
    assert found.path.name == "texture-1-brick-40.png"
    pixels = found.read()
    assert pixels.shape == (40, 40, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    written = found.path.stat().st_mtime_ns
    other = PictureSource(tmp_path / "inputs")
    again = other.get("texture", 0, 40)
    other.write([again])
    assert (again.sha256, again.path.stat().st_mtime_ns) == (found.sha256, written)
    assert source.get("texture", source.count("texture"), 40) == found


def test_distances_have_closed_forms():
    black, white = np.zeros((4, 4, 3)), np.full((4, 4, 3), 255.0)
    assert mean_distance(black, white) == pytest.approx(255 * 3**0.5)
    half = black.copy()
    half[:2] = (3, 4, 0)
    assert mean_distance(black, half) == pytest.approx(2.5)
    assert distance_of_plain(white) == 0
    assert distance_of_plain(half) == pytest.approx(2.5)


def test_coarse_correlation_measures_similarity(smooth_image):
    image = (smooth_image(48, 48)[0] + 0.5) * 255
    other = (smooth_image(64, 64)[0] + 0.5) * 255
    assert coarse_correlation(image, image) == pytest.approx(1)
    assert coarse_correlation(image, 255 - image) == pytest.approx(-1)
    assert -1 <= coarse_correlation(image, other) <= 1
    assert coarse_correlation(image, np.full((48, 48, 3), 9.0)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 2},
        {"iterations": 0},
        {"pools": ()},
        {"size": 16},
        {"variation_layers": ("pool9",)},
    ],
)
def test_scales_are_checked(change):
    with pytest.raises(InvalidInputError):
        dataclasses.replace(QUICK, **change)


def test_the_full_scale_is_the_papers():
    assert (FULL.size, FULL.iterations, FULL.seeds) == (256, 2000, 10)
    names = {spec.name for spec in VGG19.layers()} - {"fc8"}
    for scale in (QUICK, FULL):
        assert {*scale.layers, *scale.dense_layers} == names
        assert scale.seeds >= 10


def test_networks_of_all_figures_are_shipped():
    for name in ("ranvgg19-stacked", "ranvgg19-half-normal", "ranvgg19-zero-bias"):
        assert load_recipe(name).weights is None
