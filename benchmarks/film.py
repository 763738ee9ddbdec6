"""Flicker of painted films with and without the term that holds frames to the last one.

Three films are cut from a photo: a camera that pans; a disc that crosses a still scene; a hand that
turns, shakes and approaches, with the noise of a sensor. For each: flicker of the result and of the
film itself, seconds of a later frame, and of the last frame the loss without the term, that of the
style, and how far smoothed pixels are from the photo's, in levels: a trail would show where the
film has changed. `targets` are the seconds of a search of one iteration whose style targets are
kept, or computed anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_record
from scipy.ndimage import gaussian_filter, map_coordinates
from sheet import write_sheet

from rwgen import OptimizerConfig, StyleConfig, read_image, resize_image, transfer_style
from rwgen.film import FilmConfig, FilmFrame, flicker, stylize_film
from rwgen.synthesis.colors import match_colors
from rwgen.synthesis.style_targets import StyleTargets

Frames = list[NDArray[Any]]

FREE_SHARE = 1 / 5
"""Share of the iterations of frames that are not held, as all had before there was the term."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("disc", type=Path, help="photo of the disc")
    parser.add_argument("style", type=Path)
    parser.add_argument("--side", type=int, default=128, help="width of the films")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 10.0])
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="record (.json)")
    options = parser.parse_args()
    width, count = options.side, options.frames
    height = width * 3 // 4
    photo, disc, style = map(read_image, (options.photo, options.disc, options.style))
    photo = resize_image(photo, 2 * height, 2 * height * photo.shape[1] // photo.shape[0])
    style = resize_image(style, width * style.shape[0] // style.shape[1], width)
    disc = resize_image(disc, width // 4, width // 4)
    films = {
        "pan": pan(photo, (height, width), count),
        "disc": crossing(photo[:height, :width], disc, count),
        "hand": hand_held(photo, (height, width), count),
    }
    config = StyleConfig(optimizer=OptimizerConfig(max_iterations=options.iterations))
    results, rows = [], []
    for name, frames in films.items():
        for weight in options.weights:
            share = FilmConfig().later_share if weight else FREE_SHARE
            film = FilmConfig(temporal_weight=weight, later_share=share)
            begin, seconds, painted = time.perf_counter(), [], []
            for frame in stylize_film(frames, style, config=config, film=film):
                painted.append(frame)
                seconds.append(time.perf_counter() - begin)
                begin = time.perf_counter()
            results.append(
                {
                    "film": name,
                    "temporal_weight": weight,
                    "later_share": share,
                    **measures(painted, style),
                    "seconds": {"first": seconds[0], "later": float(np.median(seconds[2:]))},
                }
            )
            print(results[-1], flush=True)
            shown = [painted[0], painted[1], painted[count // 2], painted[-1]]
            rows.append([(f"{name}, {weight:g}", frame.image.clip(0, 255)) for frame in shown])
    if options.sheet is not None:
        write_sheet(options.sheet, rows)
    settings = {"size": [width, height], "frames": count, "iterations": options.iterations}
    record = {"settings": settings, "targets": target_seconds(films["pan"], style, config)}
    write_record(options.output, {**record, "results": results})


def pan(photo: NDArray[Any], size: tuple[int, int], count: int) -> Frames:
    """A camera that moves by fractions of a pixel."""
    return [view(photo, size, (0.6 * k + size[0] / 2, 1.7 * k + size[1] / 2)) for k in range(count)]


def crossing(ground: NDArray[Any], disc: NDArray[Any], count: int) -> Frames:
    """A disc that moves to the right by a thirtieth of the width with every frame."""
    side = disc.shape[0]
    rows, columns = np.mgrid[0:side, 0:side] - (side - 1) / 2
    share = np.clip(side / 2 - np.hypot(rows, columns), 0, 1)[..., np.newaxis]
    frames = []
    for top, left in places_of_disc(ground.shape, side, count):
        frame = ground.copy()
        part = frame[top : top + side, left : left + side]
        part[:] = share * disc + (1 - share) * part
        frames.append(frame)
    return frames


def places_of_disc(shape: tuple[int, ...], side: int, count: int) -> list[tuple[int, int]]:
    """Row and column of the upper left corner of the disc in each frame."""
    step = max(1, shape[1] // 30)
    return [((shape[0] - side) // 2, step * (1 + k)) for k in range(count)]


def hand_held(photo: NDArray[Any], size: tuple[int, int], count: int) -> Frames:
    """A camera that shakes, turns and approaches, with noise of 3 levels."""
    generator = np.random.default_rng(0)
    shakes = np.cumsum(generator.normal(0, 0.8, (count, 2)), axis=0)
    turns = np.cumsum(generator.normal(0, 0.004, count))
    corner = np.array(size) / 2
    frames = [
        view(photo, size, corner + shake + [0.4 * k, k], turn, 0.99**k)
        for k, (shake, turn) in enumerate(zip(shakes, turns, strict=True))
    ]
    return [(frame + generator.normal(0, 3, frame.shape)).clip(0, 255) for frame in frames]


def view(
    photo: NDArray[Any], size: tuple[int, int], corner: Any, turn: float = 0.0, zoom: float = 1.0
) -> NDArray[Any]:
    """What a camera sees of a photo: an area of `size`, turned about its middle and zoomed."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]] - np.array(size)[:, None, None] / 2
    places = [
        zoom * (np.cos(turn) * rows - np.sin(turn) * columns) + size[0] / 2 + corner[0],
        zoom * (np.sin(turn) * rows + np.cos(turn) * columns) + size[1] / 2 + corner[1],
    ]
    channels = [map_coordinates(photo[..., c], places, order=3, mode="nearest") for c in range(3)]
    return np.stack(channels, axis=2).clip(0, 255)


def measures(painted: list[FilmFrame], style: NDArray[Any]) -> dict[str, Any]:
    """Flicker, and what the last frame is like."""
    found, last = flicker(painted), painted[-1]
    terms = {name: value for name, value in last.solution.terms.items() if name != "temporal"}
    changes = [np.abs(frame.source - last.source).mean(axis=2) for frame in painted]
    has_changed = np.max(changes, axis=0) > 1
    photo = match_colors(last.source, [style])
    away = np.abs(gaussian_filter(last.image - photo, (2, 2, 0))).mean(axis=2)
    return {
        "flicker": found.result,
        "flicker_of_film": found.source,
        "loss_of_first": painted[0].solution.loss,
        "loss": sum(terms.values()),
        "style": terms["style"],
        "contrast": float(last.image.std() / painted[0].image.std()),
        "from_photo_where_changed": float(away[has_changed].mean()),
        "from_photo_elsewhere": None if has_changed.all() else float(away[~has_changed].mean()),
    }


def target_seconds(frames: Frames, style: NDArray[Any], config: StyleConfig) -> dict[str, float]:
    """Seconds of a search of one iteration whose style targets are kept, or computed anew."""
    one = dataclasses.replace(config, octaves=0, optimizer=OptimizerConfig(max_iterations=1))
    found = {}
    for name, targets in (("kept", StyleTargets()), ("anew", None)):
        seconds = []
        for frame in frames:
            begin = time.perf_counter()
            transfer_style(frame, style, config=one, style_targets=targets)
            seconds.append(time.perf_counter() - begin)
        found[name] = float(np.median(seconds[1:]))
    return found


if __name__ == "__main__":
    main()
