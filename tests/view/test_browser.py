"""The page of a search, used as a person does."""

import contextvars
import io
import threading

import numpy as np
import pytest
from PIL import Image

from rwgen.images import encode_image
from rwgen.optimize.solution import Step
from rwgen.phases import phase
from rwgen.view.server import viewing

pytestmark = pytest.mark.slow
TOTAL = 40


class Search:
    """A search of two sizes in a thread; each step waits until it is asked for."""

    def __init__(self, board):
        self.board, self.done = board, 0
        self._asked = threading.Semaphore(0)
        # Listeners of phases belong to a context.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,))
        self._thread.start()

    def step(self, count):
        for _ in range(count):
            self._asked.release()

    def finish(self):
        self.step(TOTAL)
        self._thread.join()

    def _run(self):
        for size, start in (("32x24", 0), ("64x48", TOTAL // 2)):
            with phase("targets", size):
                pass
            for iteration in range(start, start + TOTAL // 2 + 1):
                self._asked.acquire()
                if self.board.is_stopping:
                    return
                loss = (3.0 if start else 1.0) / (1 + iteration - start)
                terms = {"content": 0.3 * loss, "style": 0.6 * loss, "tv": 0.1 * loss}
                step = Step(iteration, iteration + 1, loss, terms, 0.4 * iteration, 1.0)
                self.board.show(step, picture)
                self.done = iteration


def picture():
    rows, columns = np.mgrid[0:48, 0:64]
    return np.stack([4 * columns, 5 * rows, 255 - 4 * columns], axis=2).astype(float)


@pytest.fixture
def search(browser):
    urls = []
    with viewing("painted.png", TOTAL, encode_image, "painted.png", urls.append) as board:
        browser.get(urls[0])
        running = Search(board)
        yield running
        board.stop()
        running.finish()


@pytest.fixture
def wait(browser):
    """Waits until a function is true; elements by id are its argument."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def element(name):
        return browser.find_element(By.ID, name)

    def wait(condition):
        WebDriverWait(browser, 60, 0.05).until(lambda _: condition(element))
        return element

    return wait


def test_the_image_and_the_losses_appear_and_a_copy_can_be_saved(search, wait, browser):
    element = wait(lambda at: at("status").text == "targets")
    assert element("wait").is_displayed()
    search.step(5)
    wait(lambda at: at("iterations").text == f"4 of {TOTAL}" and at("image").is_displayed())
    assert element("title").text == "painted.png"
    assert element("image").get_property("naturalWidth") == 64
    assert element("time").text == "2 s"
    assert element("left").text == "about 14 s"
    lines = element("legend").text.split()
    assert dict(zip(lines[::2], lines[1::2], strict=True)) == {
        "loss": "0.2", "content": "0.06", "style": "0.12", "tv": "0.02",
    }  # fmt: skip
    assert len(browser.find_elements("css selector", "#chart .curve")) == 4
    element("save").click()
    wait(lambda at: search.board._copies_wanted)  # from the next step
    search.step(1)
    wait(lambda at: "painted.png" in at("message").text)
    wait(lambda at: (browser.downloads / "painted.png").exists())
    with Image.open(io.BytesIO((browser.downloads / "painted.png").read_bytes())) as image:
        np.testing.assert_array_equal(np.asarray(image), picture().clip(0, 255).astype(np.uint8))


def test_a_page_that_is_loaded_again_has_the_whole_curve(search, wait, browser):
    search.step(30)
    wait(lambda at: at("iterations").text == f"28 of {TOTAL}")
    browser.refresh()
    wait(lambda at: at("iterations").text == f"28 of {TOTAL}")
    path = browser.find_element("css selector", "#chart .curve").get_attribute("d")
    assert path.count("M") == 2  # sizes are not joined
    assert path.count("M") + path.count("L") == 30
    assert element_texts(browser, "#chart text") >= {"32x24", "64x48"}


def element_texts(browser, selector):
    return {item.text for item in browser.find_elements("css selector", selector)}


def test_stop_ends_the_search_and_the_page_stays(search, wait):
    search.step(3)
    wait(lambda at: at("iterations").text == f"2 of {TOTAL}")
    element = wait(lambda at: at("stop").is_enabled())
    element("stop").click()
    wait(lambda at: at("status").text == "stopping")
    assert search.board.is_stopping
    search.board.end("stopped after 2 iterations; wrote painted.png", picture())
    wait(lambda at: at("status").text == "done")
    assert element("message").text == "stopped after 2 iterations; wrote painted.png"
    assert element("image").is_displayed()
    assert not element("stop").is_enabled()
    assert not element("save").is_enabled()


def test_a_failure_is_shown(search, wait):
    search.board.end("Expected memory. Received: too little.")
    element = wait(lambda at: at("status").text == "failed")
    assert element("message").text == "Expected memory. Received: too little."
