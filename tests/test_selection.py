"""Selection of stacked networks: choice, record, and resumption."""

import dataclasses
import json

import numpy as np
import pytest

from rwgen import (
    CandidateScore,
    Checkpoint,
    CheckpointError,
    InvalidInputError,
    InversionConfig,
    LayerError,
    OptimizerConfig,
    Recipe,
    RecipeError,
    build_network,
    invert,
    select_weights,
    weight_fingerprints,
)
from rwgen.optimize.checkpoint import fingerprint
from rwgen.selection import CandidateTrial, judge_candidate
from rwgen.workers import process_runner

CONFIG = InversionConfig(optimizer=OptimizerConfig(max_iterations=3))
BASE = Recipe(name="base", seed=4)


def reference(side=32):
    rows, columns = np.mgrid[0:side, 0:side] / 5
    waves = np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], axis=-1)
    return (128 + 100 * waves).astype(np.float32)


def scored_by(losses, seen):
    """A runner that takes losses from a table and records the trials."""

    def run(_judge, trials):
        for trial in trials:
            seen.append(trial)
            yield CandidateScore(
                trial.layer, trial.candidate, losses[trial.layer][trial.candidate], 9
            )

    return run


LOSSES = {"conv1_1": (0.3, 0.1, 0.2), "conv1_2": (0.5, 0.5, 0.5), "conv2_1": (0.9, 0.8, 0.7)}


def test_each_layer_is_chosen_on_top_of_what_was_chosen_before():
    seen = []
    chosen = select_weights(
        reference(),
        num_candidates=3,
        recipe=BASE,
        layers=["conv2_1", "conv1_1", "block1_conv2"],
        config=CONFIG,
        run=scored_by(LOSSES, seen),
    )
    assert [(trial.layer, trial.candidate) for trial in seen] == [
        (layer, number) for layer in LOSSES for number in range(3)
    ]
    assert dict(chosen.candidates) == {"conv1_1": 1, "conv2_1": 2}  # the first of equal ones
    assert [dict(trial.recipe.candidates) for trial in seen[3:]] == [
        {"conv1_1": 1},
        {"conv1_1": 1, "conv1_2": 1},
        {"conv1_1": 1, "conv1_2": 2},
        {"conv1_1": 1},
        {"conv1_1": 1, "conv2_1": 1},
        {"conv1_1": 1, "conv2_1": 2},
    ]
    assert chosen.selection.losses == LOSSES
    assert chosen.selection.reference_sha256 == fingerprint(reference())
    assert chosen.selection.iterations == 3
    assert Recipe.from_json(chosen.to_json()) == chosen


def test_the_recipe_knows_the_weights_it_chose():
    chosen = select_weights(
        reference(),
        num_candidates=2,
        recipe=dataclasses.replace(BASE, weights_sha256={"conv1_1": "0" * 64}),
        layers=["conv1_1"],
        config=CONFIG,
        run=scored_by({"conv1_1": (0.2, 0.1)}, []),
    )
    network = build_network(Recipe(seed=4, candidates={"conv1_1": 1}), "conv1_1")
    assert chosen.weights_sha256 == weight_fingerprints(network)
    assert chosen.weights_sha256 != weight_fingerprints(build_network(BASE, "conv1_1"))
    build_network(chosen, "conv1_1")  # verifies them
    wrong = dataclasses.replace(chosen, candidates={})
    with pytest.raises(RecipeError, match="conv1_1"):
        build_network(wrong, "conv1_1")


def test_without_layers_every_convolution_is_chosen():
    seen = []
    losses = {f"conv{block}_{index}": (1.0,) for block in range(1, 6) for index in range(1, 5)}
    chosen = select_weights(
        reference(), num_candidates=1, recipe=BASE, config=CONFIG, run=scored_by(losses, seen)
    )
    assert len(chosen.selection.losses) == 16
    assert [trial.layer for trial in seen][::5] == ["conv1_1", "conv3_2", "conv4_3", "conv5_4"]


def test_a_network_with_other_blocks_is_chosen_from_its_own_layers():
    base = Recipe(name="other", blocks=((3, 3), (5, 1)))
    losses = {name: (0.3, 0.2) for name in ("conv1_1", "conv1_2", "conv1_3", "conv2_1")}
    chosen = select_weights(
        reference(), num_candidates=2, recipe=base, config=CONFIG, run=scored_by(losses, [])
    )
    assert chosen.candidates == dict.fromkeys(losses, 1)
    assert list(chosen.weights_sha256) == list(losses)
    assert Recipe.from_json(chosen.to_json()) == chosen
    with pytest.raises(LayerError, match="conv1_4"):
        select_weights(reference(), recipe=base, layers=["conv1_4"])


@pytest.mark.usefixtures("eager")
def test_a_narrow_network_is_chosen_by_inversions_of_its_layers():
    base = dataclasses.replace(BASE, width=0.1)
    chosen = select_weights(
        reference(), num_candidates=2, recipe=base, layers=["conv1_2"], config=CONFIG
    )
    losses = chosen.selection.losses["conv1_2"]
    assert chosen.candidates.get("conv1_2", 0) == int(np.argmin(losses))
    network = build_network(chosen, "conv1_2")  # verifies the fingerprints
    assert network.get_layer("conv1_2").kernel.shape == (3, 3, 6, 6)


TRIAL = CandidateTrial(
    dataclasses.replace(BASE, candidates={"conv1_2": 5}), "conv1_2", 5, reference(), CONFIG
)


@pytest.fixture(scope="module")
def score():
    return judge_candidate(TRIAL)


@pytest.mark.slow
def test_a_score_is_what_an_inversion_of_ones_own_gives(score):
    network = build_network(TRIAL.recipe, "conv1_2")
    solution = invert(reference(), "conv1_2", network=network, config=CONFIG)
    assert score.loss == pytest.approx(solution.loss / solution.initial_loss, rel=1e-3)
    error = np.mean((solution.image.clip(0, 255) - reference()) ** 2)
    assert score.psnr == pytest.approx(10 * np.log10(255**2 / error), rel=1e-3)
    assert (score.layer, score.candidate) == ("conv1_2", 5)
    assert 0 < score.loss < 1


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_no_candidate_wins_by_scale_alone():
    """Kernel and bias times a power of two give the same features in another unit."""
    plain, smaller, larger = (
        judge_candidate(
            CandidateTrial(
                Recipe(kernel_stddev=2.0**exponent, bias_stddev=2.0**exponent),
                "conv1_1", 0, reference(), CONFIG,
            )
        )
        for exponent in (-6, -8, -3)
    )  # fmt: skip
    for scaled in (smaller, larger):
        assert scaled.loss == pytest.approx(plain.loss, rel=2e-3)
        assert scaled.psnr == pytest.approx(plain.psnr, rel=2e-3)


@pytest.mark.slow
def test_another_process_gives_the_same_score(score):
    with process_runner(1) as run:
        assert list(run(judge_candidate, [TRIAL])) == [score]


class StoppedError(Exception):
    pass


def test_an_interrupted_choice_goes_on_and_ends_the_same(tmp_path):
    arguments = {"num_candidates": 3, "recipe": BASE, "layers": list(LOSSES), "config": CONFIG}
    whole = select_weights(reference(), **arguments, run=scored_by(LOSSES, []))
    told, first, second = [], [], []

    def stop(score):
        if (score.layer, score.candidate) == ("conv1_2", 1):
            raise StoppedError

    with pytest.raises(StoppedError):
        select_weights(
            reference(),
            **arguments,
            run=scored_by(LOSSES, first),
            checkpoint=Checkpoint(tmp_path),
            callback=stop,
        )
    chosen = select_weights(
        reference(),
        **arguments,
        run=scored_by(LOSSES, second),
        checkpoint=Checkpoint(tmp_path),
        callback=told.append,
    )
    assert chosen == whole
    trials = [(trial.layer, trial.candidate) for trial in (*first, *second)]
    assert trials == [(layer, number) for layer in LOSSES for number in range(3)]
    assert [(score.layer, score.candidate) for score in told] == trials


@pytest.mark.parametrize(
    "change",
    [
        {"num_candidates": 4},
        {"recipe": Recipe(name="base", seed=5)},
        {"layers": ["conv1_1"]},
        {"config": InversionConfig(seed=1)},
    ],
)
def test_a_checkpoint_of_another_choice_is_refused(tmp_path, change):
    arguments = {"num_candidates": 3, "recipe": BASE, "layers": list(LOSSES), "config": CONFIG}
    run = scored_by({**LOSSES, "conv1_1": (0.3, 0.1, 0.2, 0.4)}, [])
    select_weights(reference(), **arguments, run=run, checkpoint=Checkpoint(tmp_path))
    with pytest.raises(CheckpointError):
        select_weights(
            reference(), **{**arguments, **change}, run=run, checkpoint=Checkpoint(tmp_path)
        )
    with pytest.raises(CheckpointError):
        select_weights(reference() + 1, **arguments, run=run, checkpoint=Checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_candidates": 0}, "candidates"),
        ({"num_candidates": True}, "candidates"),
        ({"num_candidates": 2.0}, "candidates"),
        ({"layers": []}, "layers"),
        ({"layers": "conv1_1"}, "layers"),
        ({"layers": ["pool1"]}, "pool1"),
        ({"layers": ["conv9_1"]}, "conv9_1"),
        ({"layers": ["fc6"]}, "256x256"),
        ({"layers": ["conv5_1"], "image": np.zeros((8, 40, 3))}, "16 pixels"),
        ({"image": np.zeros((32, 32))}, "3"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(change, message):
    seen = []
    arguments = {"num_candidates": 2, "recipe": BASE, "layers": ["conv1_1"], **change}
    image = arguments.pop("image", reference())
    with pytest.raises(InvalidInputError, match=message):
        select_weights(image, **arguments, run=scored_by(LOSSES, seen))
    assert not seen


def selected():
    return select_weights(
        reference(),
        num_candidates=3,
        recipe=BASE,
        layers=["conv1_1"],
        config=CONFIG,
        run=scored_by(LOSSES, []),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference_sha256": "ab"}, "reference_sha256"),
        ({"reference_size": [1]}, "reference_size"),
        ({"reference_size": "big"}, "reference_size"),
        ({"iterations": -1}, "iterations"),
        ({"noise_seed": 0.5}, "noise_seed"),
        ({"losses": {"pool1": [1.0]}}, "losses"),
        ({"losses": {"conv1_1": ["low"]}}, "losses.conv1_1"),
        ({"psnrs": 3}, "psnrs"),
        ({"colour": "red"}, "selection"),
        ({"losses": None}, "losses"),
    ],
)
def test_a_selection_with_anything_wrong_is_refused(change, message):
    values = json.loads(selected().to_json())
    values["selection"] |= change
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.from_json(json.dumps(values))
    assert len(str(caught.value).splitlines()) == 1


def test_a_selection_that_lacks_a_field_is_refused():
    values = json.loads(selected().to_json())
    del values["selection"]["losses"]
    with pytest.raises(RecipeError, match="selection"):
        Recipe.from_json(json.dumps(values))
