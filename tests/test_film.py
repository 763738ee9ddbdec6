"""Films: what frames start from, how they move, and how they flicker."""

import dataclasses
import importlib.util
import itertools

import numpy as np
import pytest
from PIL import Image

from rwgen import InvalidInputError, OptimizerConfig, StyleConfig, film
from rwgen.animation import write_animation
from rwgen.film import (
    FilmConfig,
    FilmFrame,
    difference,
    flicker,
    moved,
    optical_flow,
    stylize_film,
    visibility,
)
from rwgen.frames import is_film, read_film

needs_cv2 = pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="extra `video`")
needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="extra `video`")


def scene(seed=0, size=96):
    """A picture of blobs, large enough to cut frames from."""
    coarse = np.random.default_rng(seed).integers(0, 256, (size // 8, size // 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def panned(count, right=3, down=2, seed=0):
    """Frames of a camera that moves over a scene."""
    whole = scene(seed)
    return [whole[down * n : down * n + 48, right * n : right * n + 64] for n in range(count)]


def test_an_image_is_moved_by_the_flow():
    image = scene(1)[:20, :30].astype(np.float32)
    flow = np.zeros((20, 30, 2), np.float32)
    flow[..., 0], flow[..., 1] = 2, 1
    found = moved(image, flow)
    np.testing.assert_allclose(found[:19, :28], image[1:, 2:], atol=1e-3)
    np.testing.assert_allclose(found[:19, 29], image[1:, 29], atol=1e-3)  # borders are repeated
    flow[..., 0], flow[..., 1] = 0.5, 0
    waves = np.sin(np.arange(30) / 3)[np.newaxis, :, np.newaxis] * np.ones((20, 1, 3))
    expected = np.sin((np.arange(30) + 0.5) / 3)
    half = moved(waves, flow)[10, 5:25, 1]
    np.testing.assert_allclose(half, expected[5:25], atol=2e-4)  # linearly, it would be 0.014
    np.testing.assert_array_equal(moved(image, None), image)


@needs_cv2
def test_the_flow_finds_how_a_camera_moves():
    before, after = panned(2)
    flow = optical_flow(before, after)
    inner = flow[8:-8, 8:-8]
    np.testing.assert_allclose(np.median(inner.reshape(-1, 2), axis=0), [3, 2], atol=0.3)
    assert difference(before, after, flow) < 0.3 * difference(before, after, None)


@needs_cv2
def test_what_moves_does_not_drag_the_ground_along():
    ground = scene(7).astype(np.float32)
    before, after = ground.copy(), ground.copy()
    before[30:60, 20:50] = after[30:60, 26:56] = scene(8)[:30, :30]
    flow = optical_flow(before, after)
    still = np.ones((96, 96), bool)
    still[26:64, 12:64] = False
    assert np.mean(flow[still] != 0) < 0.02
    np.testing.assert_allclose(np.median(flow[36:54, 34:50, 0]), -6, atol=1)


def test_what_a_film_shows_again_is_visible():
    before, after = (picture.astype(np.float32) for picture in panned(2))
    flow = np.broadcast_to(np.float32([3, 2]), (48, 64, 2))
    seen = visibility(before, after, flow)
    assert seen.shape == (48, 64)
    np.testing.assert_allclose(seen[:40, :55], 1, atol=1e-4)
    assert not seen[46:].any()  # it has come into view
    assert not seen[:, 61:].any()
    after[10:20, 10:20] += 80
    hidden = visibility(before, after, flow)
    assert hidden[11:19, 11:19].max() < 0.2
    np.testing.assert_allclose(hidden[26:40, :55], 1, atol=1e-4)
    still = visibility(before, before + 15, None)
    np.testing.assert_allclose(still, np.exp(-1), rtol=1e-4)


@pytest.mark.parametrize("name", ["temporal_weight", "later_share", "cut_levels"])
def test_settings_of_films_are_checked(name):
    with pytest.raises(InvalidInputError, match=name):
        FilmConfig(**{name: -1})
    assert FilmConfig(later_share=0.3).later_iterations(30) == 9
    assert FilmConfig(later_share=0).later_iterations(30) == 5
    assert FilmConfig(later_share=0).later_iterations(3) == 3


def frame(source, image, begins=False, flow=None):
    return FilmFrame(source, image, None, begins, flow)


def test_flicker_is_what_does_not_move_with_the_film():
    before, after = (picture.astype(float) for picture in panned(2))
    flow = np.broadcast_to(np.float32([3, 2]), (48, 64, 2))
    noise = np.random.default_rng(5).normal(0, 10, (2, 48, 64, 3))
    found = flicker([frame(before, before + noise[0]), frame(after, after + noise[1], flow=flow)])
    assert found.pairs == 1
    expected = np.abs(noise[0, 2:, 3:] - noise[1, :-2, :-3]).mean()
    assert found.result == pytest.approx(expected, rel=0.2)  # borders are repeated
    assert found.source < 3
    steady = flicker([frame(before, before), frame(before, before), frame(after, after, True)])
    assert (steady.pairs, steady.result, steady.source) == (1, 0, 0)  # a cut is none
    assert flicker([frame(before, before)]).result == 0


@pytest.fixture
def searches(monkeypatch):
    """Calls of `transfer_style`, which turns images upside down."""
    calls = []

    def transfer_style(content, **rest):
        calls.append((content, rest))
        from rwgen import Solution, StopReason

        stop = rest["callback"] is not None and rest["callback"](len(calls))
        reason = StopReason.CALLBACK if stop else StopReason.MAX_ITERATIONS
        image = np.asarray(content, float)[::-1] * 1.5
        return Solution(image, 1.0, 1.0, {}, (), 1, 1, 0, 0.1, reason)

    monkeypatch.setattr(film, "transfer_style", transfer_style)
    return calls


def test_later_frames_start_from_the_moved_result_with_fewer_iterations(searches):
    config = StyleConfig(optimizer=OptimizerConfig(max_iterations=30))
    frames = panned(3)
    found = list(stylize_film(iter(frames), scene(2), config=config))
    assert [item.begins for item in found] == [True, False, False]
    (_, first), *rest = searches
    assert first["config"] == config
    assert "hold" not in first
    fewer = dataclasses.replace(config.optimizer, max_iterations=5)
    for number, (content, call) in enumerate(rest, start=1):
        np.testing.assert_array_equal(content, frames[number])
        assert call["config"] == dataclasses.replace(config, octaves=0, optimizer=fewer)
        flow = optical_flow(frames[number - 1], frames[number])
        before = np.asarray(frames[number - 1], float)[::-1] * 1.5
        np.testing.assert_array_equal(call["hold"].image, moved(before, flow).clip(0, 255))
        seen = visibility(frames[number - 1], frames[number], flow)
        np.testing.assert_array_equal(call["hold"].shares, seen)
        assert call["hold"].weight == FilmConfig().temporal_weight
        assert call["style_targets"] is first["style_targets"]


def test_a_cut_begins_anew_and_the_callback_ends_the_film(searches):
    frames = [np.full((20, 24, 3), level, np.uint8) for level in (10, 12, 200, 201, 202)]
    found = list(stylize_film(frames, scene(2), callback=lambda number: number == 4))
    assert [item.begins for item in found] == [True, False, True, False]
    settings = FilmConfig(cut_levels=255)
    assert sum(item.begins for item in stylize_film(frames, scene(2), film=settings)) == 1
    with pytest.raises(InvalidInputError, match=r"frames of shape \(20, 24, 3\)"):
        list(stylize_film([frames[0], frames[1][:10]], scene(2)))


def test_a_still_ground_stays_still_beside_what_moves():
    """Without the term, all strokes wander as soon as anything moves."""
    ground = scene(4)[:32, :48].astype(np.float32)
    frames = []
    for step in range(4):
        frames.append(ground.copy())
        frames[-1][8:20, 2 + 4 * step : 14 + 4 * step] = scene(5)[:12, :12]
    config = StyleConfig(
        content_layers=("conv1_1",),
        style_layers=("conv1_1", "conv2_1"),
        optimizer=OptimizerConfig(max_iterations=20),
    )
    style = scene(6)[:40, :40]

    def painted(weight):
        settings = FilmConfig(temporal_weight=weight)
        return list(stylize_film(frames, style, config=config, film=settings))

    free, held = painted(0), painted(10)
    corner = (slice(24, 32), slice(28, 48))
    wandered = [
        np.mean([np.abs(b.image - a.image)[corner].mean() for a, b in itertools.pairwise(film)])
        for film in (free, held)
    ]
    assert wandered[1] < wandered[0] / 2
    assert flicker(held).result < 0.6 * flicker(free).result
    # What moves is painted like the rest: there is no trail where it was, nor a hole where it is.
    away = [np.abs(film[-1].image - film[0].image)[8:20, 2:8].mean() for film in (free, held)]
    assert away[1] > 0.7 * away[0]


@pytest.mark.parametrize("suffix", [".gif", ".webp", pytest.param(".mp4", marks=needs_av)])
def test_a_film_is_read_frame_by_frame(suffix, tmp_path):
    path = tmp_path / f"film{suffix}"
    frames = panned(4)
    write_animation(path, frames, frames_per_second=20)
    assert is_film(path)
    read = read_film(path)
    assert (read.count, read.frames_per_second) == (4, pytest.approx(20))
    for found, expected in zip(read, frames, strict=True):
        assert found.shape == (48, 64, 3)
        assert np.abs(np.asarray(found, float) - expected).mean() < 12  # GIF has 256 colors


def test_images_are_no_films_and_broken_ones_are_told(tmp_path, monkeypatch):
    Image.fromarray(scene()).save(tmp_path / "still.gif")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    assert not is_film(tmp_path / "still.gif")
    assert not is_film(tmp_path / "broken.gif")
    assert not is_film(tmp_path / "missing.gif")
    for name in ("broken.gif", "broken.mp4", "missing.mp4"):
        with pytest.raises(InvalidInputError, match=name) as caught:
            read_film(tmp_path / name)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match=r"rwgen\[video\]"):
        read_film(tmp_path / "broken.mp4")
