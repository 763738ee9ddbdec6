"""`rwgen studio`: its controls, its jobs, and its page as a person uses it."""

from __future__ import annotations

import dataclasses
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rwgen
from rwgen.cli.studio_controls import NOT_OFFERED, settings_of, style_controls
from rwgen.cli.studio_jobs import Jobs, News
from rwgen.cli.studio_masks import COLORS, MAX_CANVAS_SIDE, canvas, masks
from rwgen.cli.style import StyleSettings
from rwgen.errors import ImageError, InvalidInputError
from rwgen.images import read_image, read_metadata
from rwgen.synthesis.config import StyleConfig

SMALL = {"size": 40, "iterations": 6, "content_layer": "conv1_1", "style_layer": "conv1_1"}


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """Values of all controls, as they are on a new page, but for a small search."""
    return {**{control.name: control.default for control in style_controls()}, **SMALL}


def test_every_option_has_a_control_with_its_default_and_words() -> None:
    controls = {control.name: control for control in style_controls()}
    fields = {field.name: field.default for field in dataclasses.fields(StyleSettings)}
    assert set(controls) == set(fields) - set(NOT_OFFERED)
    for name, control in controls.items():
        assert control.default == (fields[name] or control.default)
        assert control.text
    weight = controls["content_weight"]
    assert (weight.kind, weight.label, weight.least, weight.panel) == (
        "number", "Content weight", 0, "",
    )  # fmt: skip
    assert controls["size"].kind == "whole"
    assert controls["init"].choices == ("noise", "content")
    assert "ranvgg19" in controls["network"].choices
    assert controls["whiten_gram"].kind == "switch"
    assert ", ".join(StyleConfig().content_layers) in controls["content_layer"].text
    panels = [control.panel for control in controls.values()]
    assert panels == sorted(panels, key=["", "Look", "Running", "Research"].index)


def test_the_values_of_a_new_page_are_the_defaults() -> None:
    settings = settings_of({control.name: control.default for control in style_controls()})
    assert (settings.pop("size"), settings.pop("iterations")) == (512, 60)
    assert StyleConfig(**settings) == StyleConfig()


def test_values_become_settings(values: dict[str, Any]) -> None:
    settings = settings_of({**values, "size": 40.0, "style_layer": "conv1_1, pool1"})
    assert settings["style_layers"] == ("conv1_1", "pool1")
    assert (settings["size"], type(settings["size"])) == (40, int)


def editor(*colors: str, height: int = 30, width: int = 40) -> dict[str, Any]:
    """What Gradio's editor gives of bands painted from top to bottom; empty ones are free."""
    layer = np.zeros((height, width, 4), np.uint8)
    band = height // len(colors)
    for number, color in enumerate(colors):
        if color:
            rgb = bytes.fromhex(COLORS[color].removeprefix("#"))
            layer[number * band : (number + 1) * band] = *rgb, 255
    return {"background": None, "layers": [layer], "composite": None}


def test_painted_regions_become_masks() -> None:
    content, style = editor("red", "", "blue"), editor("", "blue", "red", height=36)
    layer = content["layers"][0]
    layer[9] = 229, 72, 77, 90  # the brush's edges
    layer[20] = 30, 140, 250, 200
    found = masks(content, style)
    assert found is not None
    assert [mask.shape for mask in found] == [(30, 40, 3), (36, 40, 3)]
    red, blue = ([*bytes.fromhex(COLORS[name][1:])] for name in ("red", "blue"))
    for rows, color in ((slice(9), red), (slice(9, 20), [0, 0, 0]), (slice(20, 30), blue)):
        assert (found[0][rows] == color).all()
    assert masks(None, None) is None
    assert masks(editor(""), {"background": None, "layers": [], "composite": None}) is None


@pytest.mark.parametrize(
    ("content", "style", "received"),
    [
        (("red", ""), ("blue", ""), "no red in the style image"),
        (("red", ""), ("red", "red"), "nothing unpainted"),
        (("red", ""), ("",), "no red"),
        (("",), ("red", ""), "no color in the content"),
    ],
)
def test_regions_without_their_counterparts_are_refused(
    content: tuple[str, ...], style: tuple[str, ...], received: str
) -> None:
    with pytest.raises(InvalidInputError, match=received):
        masks(editor(*content), editor(*style))
    assert masks(editor("red", "red"), editor("blue", "red", "")) is not None


def test_what_is_painted_on_is_no_larger_than_a_page(tmp_path: Path) -> None:
    assert canvas(None) is None
    rwgen.write_image(tmp_path / "large.png", np.full((90, 1200, 3), 7.0))
    found = canvas(str(tmp_path / "large.png"))
    assert found is not None
    assert (found.shape, found.dtype) == ((60, MAX_CANVAS_SIDE, 3), np.uint8)
    with pytest.raises(ImageError):
        canvas(str(tmp_path / "missing.png"))


def test_a_job_with_regions_can_be_made_again(
    values: dict[str, Any], pictures: Any, call: Callable[..., Any], tmp_path: Path
) -> None:
    jobs = Jobs(tmp_path, None, "auto")
    content, style = str(pictures.content), str(pictures.style)
    shapes = [read_image(path).shape[:2] for path in (content, style)]
    painted = masks(*(editor("red", "", height=h, width=w) for h, w in shapes))
    assert painted is not None
    end = last(jobs.run("me", content, style, values, painted))
    assert end.result is not None
    layers = {"content_layers": "conv1_1", "style_layers": "conv1_1"}
    regions = {"content_mask": painted[0], "style_masks": painted[1]}
    same = rwgen.stylize(content, style, size=40, iterations=6, quiet=True, **layers, **regions)
    np.testing.assert_array_equal(read_image(end.result), same.image)
    plain = rwgen.stylize(content, style, size=40, iterations=6, quiet=True, **layers)
    assert not np.array_equal(same.image, plain.image)
    again = tmp_path / "again.png"
    assert call("style", "--from", end.result, "-o", again).code == 0
    np.testing.assert_array_equal(read_image(again), same.image)


def last(news: Iterator[News]) -> News:
    *_, end = news
    return end


def test_a_job_writes_what_stylize_makes(
    values: dict[str, Any], pictures: Any, tmp_path: Path
) -> None:
    jobs = Jobs(tmp_path / "studio", None, "auto")
    content, style = str(pictures.content), str(pictures.style)
    found = list(jobs.run("me", content, style, values))
    assert found[0].message == ""
    end = found[-1]
    assert end.result == tmp_path / "studio" / "content-in-style.png"
    assert end.message == f"done: {end.result}"
    assert end.image.startswith("data:image/jpeg")
    assert (end.iteration, end.total) == (6, 6)
    layers = {"content_layers": "conv1_1", "style_layers": "conv1_1"}
    same = rwgen.stylize(content, style, size=40, iterations=6, quiet=True, **layers)
    np.testing.assert_array_equal(read_image(end.result), same.image)
    again = last(jobs.run("me", content, style, values))
    assert again.result == tmp_path / "studio" / "content-in-style-2.png"
    kept = json.loads(read_metadata(end.result)["rwgen"])["inputs"]
    assert all(Path(image["path"]).parent == tmp_path / "studio" / "inputs" for image in kept)


def test_a_stopped_job_goes_on_with_the_same_start(
    values: dict[str, Any], pictures: Any, tmp_path: Path
) -> None:
    jobs = Jobs(tmp_path, None, "auto")
    content, style = str(pictures.content), str(pictures.style)
    for news in jobs.run("me", content, style, {**values, "iterations": 60}):
        if news.iteration >= 2:
            jobs.stop("me")
    assert news.message.startswith("stopped; the same start goes on from here: ")
    assert news.result is not None
    begun = news.iteration
    assert 2 <= begun < 60
    jobs.stop("me")  # nothing runs
    resumed = [
        item.iteration
        for item in jobs.run("me", content, style, {**values, "iterations": 60})
        if item.iteration
    ]
    assert resumed[0] >= begun
    assert resumed[-1] == 60
    whole = last(Jobs(tmp_path / "other", None, "auto").run(
        "me", content, style, {**values, "iterations": 60}))  # fmt: skip
    np.testing.assert_array_equal(
        read_image(tmp_path / "content-in-style-2.png"), read_image(str(whole.result))
    )
    assert not list((tmp_path / "states").iterdir())


def test_a_page_that_is_closed_ends_its_job(
    values: dict[str, Any], pictures: Any, tmp_path: Path
) -> None:
    jobs = Jobs(tmp_path, None, "auto")
    run = jobs.run("me", str(pictures.content), str(pictures.style), {**values, "iterations": 500})
    next(news for news in run if news.iteration)
    run.close()  # type: ignore[attr-defined] # a generator, as Gradio closes it
    assert jobs._running == {}
    assert (tmp_path / "content-in-style.png").exists()


def test_a_job_that_fails_says_why(values: dict[str, Any], pictures: Any, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, 1000, "auto")
    end = last(jobs.run("me", str(pictures.content), str(pictures.style), values))
    assert "memory" in end.message
    assert end.result is None
    (tmp_path / "broken.png").write_bytes(b"no image")
    end = last(jobs.run("me", str(tmp_path / "broken.png"), str(pictures.style), values))
    assert "broken" in end.message


def test_the_page_shows_words_as_words() -> None:
    pytest.importorskip("gradio")
    from rwgen.cli.studio_page import live_html

    assert "3 of 9, a&lt;b&gt;" in live_html(News(3, 9, "a<b>"))
    assert "&lt;script&gt;" in live_html(News(message="<script>"))


def test_wrong_calls_are_refused(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert "--output: expected a folder" in refused("studio", "-o", tmp_path / "file")
    assert "--host, --port: expected an address" in refused("studio", "--host", "192.0.2.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "that is free" in refused("studio", "--port", port)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "rwgen[studio]"' in refused("studio")


@pytest.mark.slow
def test_two_images_are_dropped_and_the_result_is_downloaded(
    pictures: Any, tmp_path: Path, browser: Any
) -> None:
    pytest.importorskip("gradio")
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    def at(selector: str) -> Any:
        return browser.find_element("css selector", selector)

    def wait(condition: Callable[[], Any]) -> None:
        def holds(_: Any) -> bool:
            return bool(condition())

        WebDriverWait(browser, 60, 0.1).until(holds)

    command = [sys.executable, "-m", "rwgen.cli.main", "studio", "-o", str(tmp_path)]
    program = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert program.stderr is not None
        url = program.stderr.readline().removeprefix("rwgen: studio: ").strip()
        assert url.startswith("http://127.0.0.1:")
        browser.get(url)
        wait(lambda: browser.find_elements("css selector", "#start"))
        at("#start").click()
        wait(lambda: "Choose a content image" in at("body").text)
        for name, path in (("content", pictures.content), ("style", pictures.style)):
            at(f"#{name} input[type=file]").send_keys(str(path))
            wait(lambda name=name: browser.find_elements("css selector", f"#{name} img"))
        for panel in browser.find_elements("css selector", ".label-wrap"):
            panel.click()
        for name, value in SMALL.items():
            field = at(f"#option-{name} input, #option-{name} textarea")
            wait(field.is_displayed)
            field.clear()
            field.send_keys(str(value))
        for name in ("content", "style"):
            area = at(f"#{name}-regions canvas")
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
            mouse = ActionChains(browser).move_to_element(area).click_and_hold()
            mouse.move_by_offset(20, 0).move_by_offset(20, 0).release().perform()
        at("#start").click()
        wait(lambda: browser.find_elements("css selector", "#outcome"))
        written = tmp_path / "content-in-style.png"
        assert at("#outcome").text == f"done: {written}"
        inputs = json.loads(read_metadata(written)["rwgen"])["inputs"]
        assert [item["role"] for item in inputs[2:]] == ["content_mask", "style_mask"]
        painted = {tuple(color) for row in read_image(inputs[2]["path"]) for color in row}
        assert painted == {(0, 0, 0), (0xE5, 0x48, 0x4D)}  # a stroke in the first color
        assert at("#live img").get_property("naturalWidth") == 40
        wait(lambda: at("#download").get_attribute("disabled") is None)
        # Away from the notice of the first start, which may still be at the top.
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", at("#download"))
        at("#download").click()
        saved = browser.downloads / "content-in-style.png"
        wait(saved.exists)
        assert saved.read_bytes() == written.read_bytes()
        wait(lambda: len(browser.find_elements("css selector", "#results img")) == 1)
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 130
    finally:
        program.kill()
        program.communicate()
