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
from rwgen.cli.style import StyleSettings
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
        at("#start").click()
        wait(lambda: browser.find_elements("css selector", "#outcome"))
        written = tmp_path / "content-in-style.png"
        assert at("#outcome").text == f"done: {written}"
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
