"""Phases reach whoever listens, and nobody else."""

import threading

import pytest

from rwgen.phases import Phase, listening, phase


class Notes:
    def __init__(self):
        self.heard = []

    def began(self, phase):
        self.heard.append(("began", phase))

    def ended(self, phase):
        self.heard.append(("ended", phase))


def test_a_listener_hears_phases_inside_its_block_in_order():
    notes = Notes()
    with phase("before"), listening(notes), phase("outer", "64x48"), phase("inner"):
        pass
    with phase("after"):
        pass
    outer, inner = Phase("outer", "64x48"), Phase("inner")
    assert notes.heard == [
        ("began", outer),
        ("began", inner),
        ("ended", inner),
        ("ended", outer),
    ]


def test_a_phase_ends_with_its_block_even_by_an_error():
    notes = Notes()
    with listening(notes), pytest.raises(ValueError, match="wrong"), phase("doomed"):
        raise ValueError("wrong")
    assert [kind for kind, _ in notes.heard] == ["began", "ended"]


def test_several_listeners_hear_the_same_and_other_threads_are_not_heard():
    first, second = Notes(), Notes()

    def elsewhere():
        with phase("in a thread"):
            pass

    with listening(first), listening(second):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with phase("here"):
            pass
    assert first.heard == second.heard
    assert [found.name for _, found in first.heard] == ["here", "here"]
