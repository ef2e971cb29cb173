"""Ctrl-C once: what is in hand is finished and entered; twice: at once. Whoever else takes care of it is left alone."""

import os
import signal
import threading

import pytest

from semples_cli.steps.interruption import SENTENCE, InterruptedRun, Interruption
from semples_cli.types import RunSummary


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def _usual_handler():
    """CI may have started pytest in the background, with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_nothing_happens_without_ctrl_c():
    with Interruption() as interruption:
        assert list(interruption.until(range(3))) == [0, 1, 2]
    assert not interruption.is_asked


def test_the_item_in_hand_is_the_last():
    done = []
    with Interruption() as interruption:
        for item in interruption.until(range(9)):
            if item == 2:
                ctrl_c()
            done.append(item)
    assert done == [0, 1, 2]
    assert interruption.is_asked


def test_a_second_one_ends_it_at_once():
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:  # noqa: PT012  # the second raises
        ctrl_c()
        assert interruption.is_asked
        ctrl_c()
        pytest.fail("went on")


def test_it_is_said_what_the_second_one_does():
    said = threading.Event()
    notes = []

    def note(sentence):
        notes.append(sentence)
        said.set()

    with Interruption(note):
        ctrl_c()
        assert said.wait(10)
    assert notes == [SENTENCE]


def test_progress_ends_what_it_is_told_of():
    told = []
    with Interruption() as interruption:
        progress = interruption.ending(lambda done, total: told.append((done, total)))
        progress(1, 9)
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            progress(2, 9)
    assert told == [(1, 9), (2, 9)]


def test_another_handler_is_left_alone():
    taken = []
    signal.signal(signal.SIGINT, lambda *_: taken.append("mine"))
    with Interruption() as interruption:
        ctrl_c()
    assert taken == ["mine"]
    assert not interruption.is_asked
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_inner_one_leaves_it_to_the_outer():
    with Interruption() as outer:
        with Interruption() as inner:
            ctrl_c()
        assert (outer.is_asked, inner.is_asked) == (True, False)


def test_off_the_main_thread_and_switched_off_it_takes_nothing():
    handlers = []

    def work():
        with Interruption():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with Interruption(enabled=False):
        handlers.append(signal.getsignal(signal.SIGINT))
    assert handlers == [signal.default_int_handler] * 2


def test_the_error_is_a_keyboard_interrupt_that_knows_how_far_it_got():
    summary = RunSummary(3, 1, (), (), 2.0)
    error = InterruptedRun(summary, 4)
    assert isinstance(error, KeyboardInterrupt)
    assert (error.summary, error.left) == (summary, 4)
