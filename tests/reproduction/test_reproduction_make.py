"""Parts that are really optimized: their numbers, and draws in other processes."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest

from rwgen import Recipe, load_recipe, read_image
from rwgen.metrics import psnr
from rwgen.reproduction import make
from rwgen.reproduction.parts import Inversion, Stack
from rwgen.reproduction.pictures import PictureSource
from rwgen.reproduction.quality import mean_distance
from rwgen.reproduction.store import Store


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    source = PictureSource(tmp_path_factory.mktemp("inputs"))
    picture = source.get("photo", 0, 32)
    source.write([picture])
    return picture


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_an_inversion_keeps_its_image_numbers_and_steps(photo, store, eager):
    part = Inversion(
        picture=photo,
        network=load_recipe("ranvgg19-stacked"),
        layer="conv1_1",
        iterations=5,
        snapshots=(1, 3),
    )
    make.make_part(part, store)
    result = store.load(part)

    image = read_image(result.image)
    assert result.numbers["psnr"] == pytest.approx(psnr(photo.read(), image))
    assert result.numbers["distance"] == pytest.approx(mean_distance(photo.read(), image))
    assert result.history["iteration"] == [0, 1, 2, 3, 4, 5]
    assert result.snapshots == (1, 3)
    for number in result.snapshots:
        shown = read_image(result.snapshot(number))
        seen = mean_distance(photo.read(), shown)
        assert seen == pytest.approx(result.history["distance"][number], rel=0.02)
    # The written image is that of the last step, rounded.
    assert result.numbers["distance"] == pytest.approx(result.history["distance"][-1], abs=0.5)
    assert np.all(np.diff(result.history["loss"]) <= 0)
    assert {path.name for path in result.folder.iterdir()} == {
        "part.json",
        "image.png",
        "iteration-000001.png",
        "iteration-000003.png",
    }
    assert json.loads((result.folder / "part.json").read_text())["part"]["layer"] == "conv1_1"


def test_a_search_whose_distances_were_lost_starts_over(photo, store, monkeypatch, eager):
    part = Inversion(
        picture=photo,
        network=load_recipe("ranvgg19-stacked"),
        layer="conv1_1",
        iterations=4,
    )

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(make, "write_image", stop)
        with pytest.raises(KeyboardInterrupt):
            make.make_part(part, store)
    workplace = store.workplace(part)
    assert (workplace / "checkpoint" / "search.npz").exists()
    (workplace / make.DISTANCES).write_text("")
    make.make_part(part, store)
    assert len(store.load(part).history["distance"]) == 5
    assert not workplace.exists()


def test_many_draws_are_scored_in_other_processes(photo, store, monkeypatch, eager):
    """With equal results, as `tests/test_selection.py` shows of processes."""
    part = Stack(
        reference=photo,
        base=Recipe(name="base", seed=1),
        layers=("conv1_1",),
        candidates=2,
        iterations=3,
        seed=0,
    )
    runners = []

    def process_runner(num_workers):
        runners.append(num_workers)
        return contextlib.nullcontext(map)

    monkeypatch.setattr(make, "process_runner", process_runner)
    make.make_part(part, store)
    assert runners == []
    monkeypatch.setattr(make, "DRAWS_IN_PROCESS", 1)
    other = Store(store.folder.parent / "other")
    make.make_part(part, other)
    assert runners == [1]
    recipes = [Recipe.from_json(x.load(part).recipe.read_text()) for x in (store, other)]
    assert recipes[0] == recipes[1]
    assert len(recipes[0].selection.losses["conv1_1"]) == 2
    assert store.load(part).numbers == other.load(part).numbers
    assert store.load(dataclasses.replace(part, seed=1)) is None
