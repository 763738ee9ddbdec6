"""The page is self-contained, and a browser shows it well at any width."""

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from rwgen.reproduction.page import duration

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
VOID = {"meta", "link", "img", "source", "br"}

# Measures the page from outside its frame, as its content policy forbids scripts.
MEASURE = """<!DOCTYPE html><title>measure</title>
<iframe id="page" style="width:{width}px;height:800px;border:0" src="index.html"></iframe>
<script>
onload = () => {{
  const page = document.getElementById("page").contentDocument;
  const root = page.documentElement;
  const images = [...page.images];
  document.body.textContent = JSON.stringify({{
    scroll: root.scrollWidth, client: root.clientWidth,
    images: images.length, broken: images.filter(x => !x.naturalWidth).length,
    charts: images.filter(x => x.currentSrc.startsWith("data:image/svg")).map(x => x.currentSrc),
    background: getComputedStyle(page.body).backgroundColor,
    loaded: performance.getEntriesByType("resource").map(x => x.name),
  }});
}};
</script>"""


class Reader(HTMLParser):
    """Collects elements with attributes and texts, and checks that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(made_up_folder):
    reader = Reader()
    reader.feed((made_up_folder / "index.html").read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def test_nothing_on_the_page_is_fetched(page):
    for tag, values in page.elements:
        for key in ("src", "srcset", "href", "action", "data", "poster"):
            target = values.get(key)
            if target is not None:
                assert target.startswith("data:" if tag != "a" else "#"), (tag, key, target[:80])
        assert tag not in ("script", "iframe", "object", "embed")
        assert "style" not in values
    (style,) = [text for text in page.texts if ":root" in text]
    assert "url(" not in style
    assert "@import" not in style
    policies = [v["content"] for t, v in page.elements if v.get("http-equiv")]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_image_is_in_the_page_and_described(page):
    images = [values for tag, values in page.elements if tag == "img"]
    assert images
    for values in images:
        assert values["alt"].strip()
        kind, data = re.fullmatch(r"data:(image/[a-z+]+);base64,(.*)", values["src"]).groups()
        content = base64.b64decode(data, validate=True)
        if kind == "image/png":
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        else:
            assert b"<svg" in content


def test_the_page_has_landmarks_headings_and_anchors(page):
    tags = [tag for tag, _ in page.elements]
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert tags.count(landmark) == 1
    assert ("html", {"lang": "en"}) in page.elements
    identifiers = [values["id"] for _, values in page.elements if "id" in values]
    assert len(identifiers) == len(set(identifiers))
    assert {f"figure-{number}" for number in range(2, 11)} <= set(identifiers)
    for tag, values in page.elements:
        if tag == "a":
            assert values["href"][1:] in identifiers
        if "aria-labelledby" in values:
            assert values["aria-labelledby"] in identifiers


def test_the_page_agrees_with_the_json(made_up_folder, page):
    text = "".join(page.texts)
    values = json.loads((made_up_folder / "reproduction.json").read_text())
    assert values["command"] in text
    for figure in values["verdicts"].values():
        for verdict in figure:
            assert verdict["paper"] in text
            assert verdict["measured"] in text
    assert "No trained weights were given" in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(5, "5 s"), (89.9, "90 s"), (120, "2 min"), (5340, "89 min"), (5400, "1.5 h")],
)
def test_durations_are_readable(seconds, expected):
    assert duration(seconds) == expected


def browse(folder, *arguments, scheme):
    """Run headless Chromium without a network and return its output."""
    command = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={scheme}",
        *arguments,
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_the_page(made_up_folder, tmp_path, width, scheme):
    shutil.copy(made_up_folder / "index.html", tmp_path / "index.html")
    frame = tmp_path / "measure.html"
    frame.write_text(MEASURE.format(width=width), encoding="utf-8")
    number = ("dark", "light").index(scheme)
    out = browse(
        tmp_path,
        "--allow-file-access-from-files",
        "--virtual-time-budget=10000",
        "--dump-dom",
        frame.as_uri(),
        scheme=number,
    )
    seen = json.loads(re.search(r"<body>(\{.*\})</body>", out)[1].replace("&amp;", "&"))
    assert seen["client"] == width
    assert seen["scroll"] <= width, "the page scrolls sideways"
    assert seen["images"] > 0
    assert seen["broken"] == 0
    assert all(name.endswith("index.html") for name in seen["loaded"])
    colours = [int(value) for value in re.findall(r"\d+", seen["background"])[:3]]
    assert (max(colours) < 64) == (scheme == "dark")
    paper = b"#17181c" if scheme == "dark" else b"#ffffff"
    for chart in seen["charts"]:
        assert paper in base64.b64decode(chart.partition(",")[2])

    shot = tmp_path / "shot.png"
    page = (tmp_path / "index.html").as_uri()
    size = f"--window-size={max(width, 500)},900"  # no window of Chromium is narrower
    browse(tmp_path, size, f"--screenshot={shot}", page, scheme=number)
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[:5].mean() < 64) == (scheme == "dark")
    assert pixels.std() > 5
