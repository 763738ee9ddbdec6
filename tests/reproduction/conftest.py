"""A scale that takes seconds, and fake parts."""

import math

import numpy as np
import pytest
from tiny_scale import TINY

from rwgen import Recipe, write_image
from rwgen.reproduction.parts import Inversion, Stack, Texture, part_key
from rwgen.reproduction.pictures import PictureSource
from rwgen.reproduction.run import reproduce
from rwgen.reproduction.setting import Setting


@pytest.fixture(scope="session")
def tiny():
    """Every figure at 32 pixels and three iterations."""
    return TINY


@pytest.fixture
def setting(tiny, tmp_path):
    return Setting(tiny, PictureSource(tmp_path / "inputs"))


class MadeUp:
    """Replaces searches: images are noise, and numbers follow from the part's key."""

    def __init__(self):
        self.made = []

    def make(self, part, store):
        workplace = store.workplace(part)
        key = part_key(part)
        generator = np.random.default_rng(int(key.rpartition("-")[2], 16))
        self.made.append(key)
        values = {"history": {}, "seconds_per_evaluation": None, "snapshots": ()}
        if isinstance(part, Stack):
            recipe = Recipe(name="made-up")
            (workplace / "recipe.json").write_text(recipe.to_json(), encoding="utf-8")
            store.finish(part, {**values, "numbers": {"candidates": {}}, "seconds": 1.0})
            return
        write_image(workplace / "image.png", generator.uniform(0, 255, (32, 32, 3)))
        values["seconds_per_evaluation"] = 0.5
        chance = generator.uniform(0.2, 0.8)
        numbers = {"patches": chance, "covariances": chance}
        if isinstance(part, Inversion):
            rows = list(range(part.iterations + 1))
            distances = [20.0 * math.exp(-row) + chance for row in rows]
            for number in part.snapshots:
                write_image(workplace / f"iteration-{number:06d}.png", np.zeros((32, 32, 3)))
            values["snapshots"] = part.snapshots
            values["history"] = {
                "iteration": rows,
                "evaluations": rows,
                "seconds": rows,
                "loss": distances,
                "distance": distances,
            }
            numbers = {
                "distance": distances[-1],
                "distance_of_plain": 60.0,
                "psnr": 20.0 + chance,
                "ssim": chance,
                "coarse_correlation": chance,
            }
        elif isinstance(part, Texture):
            numbers |= {"spectrum": chance, "copies": 0.0}
        else:
            numbers |= {
                "patches_of_photo": 1.0,
                "covariances_of_photo": 1.0,
                "coarse_correlation": chance,
                "coarse_correlation_of_painting": 0.1,
                "ssim": chance,
                "ssim_of_painting": 0.1,
            }
        store.finish(part, {**values, "numbers": numbers, "seconds": 2.0})


@pytest.fixture
def made_up(monkeypatch):
    import rwgen.reproduction.make

    fake = MadeUp()
    monkeypatch.setattr(rwgen.reproduction.make, "make_part", fake.make)
    return fake


@pytest.fixture(scope="session")
def made_up_folder(tiny, tmp_path_factory):
    """A folder with all figures of fake parts."""
    import rwgen.reproduction.make

    folder = tmp_path_factory.mktemp("reproduction") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rwgen.reproduction.make, "make_part", MadeUp().make)
        reproduce(folder, scale=tiny)
    return folder
