"""What a page is told of a search."""

import base64
import io
import threading

import numpy as np
from PIL import Image

from rwgen.optimize.solution import Step
from rwgen.phases import Phase
from rwgen.view.board import PREVIEW_SECONDS, PREVIEW_SIDE, Board


def step(iteration):
    return Step(iteration, iteration + 1, 9.0 - iteration, {"style": 1.0}, 0.5 * iteration, 2.0)


def gray(level, height=6, width=8):
    return np.full((height, width, 3), float(level))


def image_of(news):
    kind, _, data = news["image"].partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def never():
    raise AssertionError("nobody looks at this image")


def test_a_page_that_comes_late_is_told_all_steps_and_later_ones_once():
    board = Board("a.png", 5)
    board.began(Phase("targets", "4x3"))
    board.show(step(0), never)
    board.began(Phase("iterations", "4x3"))
    board.show(step(1), never)
    board.began(Phase("targets", "8x6"))
    page = board.follow()
    news = page.changes(0)
    assert (news["title"], news["total"], news["status"]) == ("a.png", 5, "targets")
    assert [item["iteration"] for item in news["steps"]] == [0, 1]
    assert news["steps"][1] == {"iteration": 1, "seconds": 0.5, "loss": 8.0, "terms": {"style": 1}}
    assert news["sizes"] == [{"iteration": 0, "size": "4x3"}, {"iteration": 1, "size": "8x6"}]
    assert page.changes(0) == {}
    board.show(step(2), lambda: gray(3))
    news = page.changes(0)
    assert [item["iteration"] for item in news["steps"]] == [2]
    assert news["sizes"] == []
    assert news["end"] is None
    assert np.abs(image_of(news) - 3.0).max() <= 2
    other = board.follow()
    assert len(other.changes(0)["steps"]) == 3


def test_images_are_made_for_somebody_and_not_more_often_than_seen():
    clock = Clock()
    board = Board("a.png", 5, clock=clock)
    board.show(step(0), never)
    page = board.follow()
    board.show(step(1), lambda: gray(1))
    clock.now += 0.9 * PREVIEW_SECONDS
    board.show(step(2), never)
    clock.now += 0.2 * PREVIEW_SECONDS

    def slow():
        clock.now += 4.0
        return gray(2)

    board.show(step(3), slow)
    assert np.abs(image_of(page.changes(0)) - 2.0).max() <= 2
    clock.now += 35.0  # nine tenths of the time are for the search
    board.show(step(4), never)
    assert "image" not in page.changes(0)
    clock.now += 2.0
    board.show(step(5), lambda: gray(3))
    page.close()
    clock.now += 1000.0
    board.show(step(6), never)


def test_large_images_are_shown_small():
    board = Board("a.png", 5)
    page = board.follow()
    board.show(step(0), lambda: gray(9, 4, 2 * PREVIEW_SIDE))
    assert image_of(page.changes(0)).shape == (2, PREVIEW_SIDE, 3)


def test_a_copy_is_the_file_of_the_next_step():
    board = Board("a.png", 5, encode=lambda pixels: b"%d" % pixels[0, 0, 0])
    board.show(step(0), never)
    assert board.copy(0) is None
    found = []
    thread = threading.Thread(target=lambda: found.append(board.copy(60)))
    thread.start()
    while not board._copies_wanted:
        pass
    board.show(step(1), lambda: gray(7))
    thread.join()
    assert found == [b"7"]
    board.show(step(2), never)


def test_stop_and_the_end_are_told():
    board = Board("a.png", 5)
    page = board.follow()
    assert board.await_watcher(0)
    assert not board.is_stopping
    page.changes(0)
    board.stop()
    assert board.is_stopping
    assert page.changes(0)["status"] == "stopping"
    board.end("wrote a.png", gray(200))
    news = page.changes(0)
    assert news["end"] == {"message": "wrote a.png", "failed": False}
    assert np.abs(image_of(news) - 200.0).max() <= 2
    assert board.copy(60) is None
    failing = Board("b.png", 5)
    assert not failing.await_watcher(0)
    failing.end("out of memory")
    news = failing.follow().changes(0)
    assert news["end"] == {"message": "out of memory", "failed": True}
    assert "image" not in news
