"""A reproduction is planned, made once and drawn, and resumes where it was interrupted."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from rwgen.errors import InvalidInputError, OptimizationError
from rwgen.reproduction.figures.index import FIGURES
from rwgen.reproduction.run import in_order, reproduce
from rwgen.reproduction.store import MARK


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_all_figures_are_drawn_and_judged(made_up, tiny, tmp_path):
    seen = []
    outcome = reproduce(tmp_path / "all", scale=tiny, progress=seen.append)
    assert outcome.figures == tuple(range(2, 11))
    assert outcome.made == outcome.parts == len(made_up.made) == len(set(made_up.made))
    assert [advance.done for advance in seen] == list(range(outcome.parts + 1))
    assert (seen[0].seconds_left, seen[-1].seconds_left) == (None, 0)
    for number in outcome.figures:
        folder = tmp_path / "all" / f"figure-{number}"
        values = json.loads((folder / f"figure-{number}.json").read_text())
        with Image.open(folder / f"figure-{number}.png") as image:
            assert round(image.info["dpi"][0]) == 300
            assert image.width == 2100
        raw = {path.stem for path in (folder / "images").iterdir()}
        assert raw >= {name for name in values["parts"] if not name.startswith("stack")}
        commands = [line for line in (folder / "commands.sh").read_text().splitlines()[1:]]
        assert commands[0].startswith(f"rwgen reproduce {number} -o ")
        assert set(values["commands"]) >= {"figure", *values["parts"]}
        assert commands == list(values["commands"].values())
        for part in values["parts"].values():
            assert part["settings"]["config"]["seed"] >= 0
        assert {verdict["outcome"] for verdict in values["verdicts"]} <= {
            "holds",
            "does not hold",
            "cannot be told",
        }
    mark = json.loads((tmp_path / "all" / MARK).read_text())
    assert mark["full_scale_estimate"]["seconds"] == pytest.approx(outcome.full.seconds)
    assert set(mark["full_scale_estimate"]["seconds_by_kind"]) == {
        "invert",
        "stack",
        "style",
        "texture",
    }


def test_a_finished_part_is_not_made_again(made_up, tiny, tmp_path):
    folder = tmp_path / "again"
    reproduce(folder, [2, 5], scale=tiny)
    parts = files_of(folder / "parts")
    page = (folder / "index.html").read_bytes()
    count = len(made_up.made)
    assert reproduce(folder, [2, 5], scale=tiny).made == 0
    assert len(made_up.made) == count
    assert files_of(folder / "parts") == parts
    assert (folder / "index.html").read_bytes() == page


def test_an_interrupted_run_resumes(made_up, tiny, tmp_path):
    folder = tmp_path / "stopped"

    def stop(advance):
        if advance.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(folder, [2, 3], scale=tiny, progress=stop)
    outcome = reproduce(folder, [2, 3], scale=tiny)
    assert outcome.made == outcome.parts - 3
    assert len(made_up.made) == len(set(made_up.made)) == outcome.parts


def test_a_damaged_part_is_made_again(made_up, tiny, tmp_path):
    folder = tmp_path / "damaged"
    reproduce(folder, [2], scale=tiny)
    first, second = sorted((folder / "parts").iterdir())
    (first / "part.json").write_text("{")
    (second / "image.png").unlink()
    assert reproduce(folder, [2], scale=tiny).made == 2
    assert (second / "image.png").exists()


def test_a_changed_setting_makes_only_what_it_changes(made_up, tiny, tmp_path):
    folder = tmp_path / "changed"
    reproduce(folder, [2, 8], scale=tiny)
    changed = dataclasses.replace(tiny, texture_iterations=3)
    assert reproduce(folder, [2, 8], scale=changed).made == 2


def parts_of(setting, *figures):
    return in_order(FIGURES[number].parts(setting) for number in figures)


def test_figures_share_parts(setting):
    count = {n: len(parts_of(setting, n)) for n in (2, 3, 4, 7)}
    # Figures 2 and 4 have all parts of figure 7; pool1 of the first photo is in 2 and 3.
    assert len(parts_of(setting, 2, 4, 7)) == count[2] + count[4]
    assert len(parts_of(setting, 2, 3)) == count[2] + count[3] - 1


def test_stacks_come_before_what_is_inverted_from_them(setting):
    parts = parts_of(setting, 6)
    kinds = [part.kind for part in parts]
    stacked = [part for part in parts if part.kind == "invert"]
    assert kinds.count("stack") == 3
    needs = [getattr(part.network, "kind", None) == "stack" for part in stacked]
    assert needs == sorted(needs)
    assert kinds.index("stack") < len(kinds) - sum(needs)


def test_figures_that_were_made_before_stay_on_the_page(made_up, tiny, tmp_path):
    folder = tmp_path / "two"
    reproduce(folder, [2], scale=tiny)
    shutil.rmtree(folder / "inputs")  # written again for the figures of earlier calls too
    assert reproduce(folder, [8], scale=tiny).figures == (2, 8)
    names = {path.name for path in (folder / "inputs").iterdir()}
    assert names == {"photo-1-astronaut-32.png", "texture-1-brick-32.png"}


def test_figures_are_planned_once(made_up, tiny, tmp_path, monkeypatch):
    planned = []
    for number, figure in FIGURES.items():

        def parts(setting, plan=figure.parts):
            planned.append(setting.scale.name)
            return plan(setting)

        monkeypatch.setitem(FIGURES, number, dataclasses.replace(figure, parts=parts))
    reproduce(tmp_path / "out", [2], scale=tiny)
    assert planned.count("tiny") == len(FIGURES)


@pytest.mark.parametrize("content", ["{}", "[", '{"format_version": 99}'])
def test_a_folder_of_something_else_is_refused(content, tiny, tmp_path):
    (tmp_path / MARK).write_text(content)
    with pytest.raises(InvalidInputError, match="--output: expected an empty folder"):
        reproduce(tmp_path, [2], scale=tiny)
    assert (tmp_path / MARK).read_text() == content


def test_a_folder_with_files_is_refused_and_unchanged(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InvalidInputError, match="holds something else"):
        reproduce(tmp_path, [2], scale=tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_unknown_figures_are_refused_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(InvalidInputError, match=r"among 2, 3, .*Received: 1, 11"):
        reproduce(tmp_path / "none", [1, 2, 11], scale=tiny)
    assert not (tmp_path / "none").exists()


def test_weights_that_are_drawn_are_no_trained_weights(tiny, tmp_path):
    with pytest.raises(InvalidInputError, match="whose weights are drawn"):
        reproduce(tmp_path / "none", [2], scale=tiny, trained="ranvgg19")
    assert not (tmp_path / "none").exists()


def test_own_images_play_their_roles(made_up, tiny, tmp_path):
    photos = tmp_path / "mine" / "photos"
    photos.mkdir(parents=True)
    for number, name in enumerate(("b.png", "a.png")):
        Image.fromarray(np.full((40, 50, 3), 90 + number, np.uint8)).save(photos / name)
    folder = tmp_path / "own"
    reproduce(folder, [2, 8], scale=tiny, images=tmp_path / "mine")
    names = {path.name for path in (folder / "inputs").iterdir()}
    assert names == {"photo-1-a-32.png", "texture-1-brick-32.png"}
    with Image.open(folder / "inputs" / "photo-1-a-32.png") as image:
        assert image.size == (32, 32)
        assert image.getpixel((5, 5)) == (91, 91, 91)


@pytest.mark.parametrize("make", [False, True])
def test_images_without_a_role_are_refused(make, tiny, tmp_path):
    if make:
        (tmp_path / "textures").mkdir()
    with pytest.raises(InvalidInputError, match="--images: expected"):
        reproduce(tmp_path / "out", [2], scale=tiny, images=tmp_path)


def test_a_part_that_fails_keeps_the_others(made_up, tiny, tmp_path, monkeypatch):
    import rwgen.reproduction.make

    def fail(part, store):
        if part.layer == "pool1":
            raise OptimizationError("expected a finite loss. Received: NaN")
        made_up.make(part, store)

    monkeypatch.setattr(rwgen.reproduction.make, "make_part", fail)
    with pytest.raises(OptimizationError):
        reproduce(tmp_path / "out", [2], scale=tiny)
    monkeypatch.setattr(rwgen.reproduction.make, "make_part", made_up.make)
    assert reproduce(tmp_path / "out", [2], scale=tiny).made == 1
