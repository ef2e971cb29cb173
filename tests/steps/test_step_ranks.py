"""One process speaks for all, and processes that see something else are refused."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from semples_cli.engine.data_parallel import ALONE, Ranks
from semples_cli.errors import SettingsError
from semples_cli.steps.progress import silent
from semples_cli.steps.ranks import JointNotes, begin_on_main, check_same_on_all, make_masks
from semples_cli.types import ClassSet, RunSummary, Sample, Shard

CLASS_SET = ClassSet(("boat", "cat"))
SAMPLES = [Sample("a", Path("a.jpg"), (1,)), Sample("b", Path("b.jpg"), (1, 2))]


@dataclass(frozen=True)
class Two(Ranks):
    """Two processes, of which the other gives what is said here, or the same."""

    size: int = 2
    other: Any = None

    def gather(self, value):
        other = value if self.other is None else self.other
        return [value, other] if self.rank == 0 else [other, value]

    def from_main(self, make):
        return make() if self.rank == 0 else self.other


def test_one_process_says_everything_at_once_as_often_as_it_is_noted():
    said = []
    notes = JointNotes(ALONE, said.append)
    for sentence in ("one", "two", "one"):
        notes(sentence)
    assert said == ["one", "two", "one"]
    notes.bring()
    assert said == ["one", "two", "one"]


def test_what_others_noted_is_said_once_when_it_is_brought():
    said = []
    notes = JointNotes(Two(other=["both", "theirs", "theirs"]), said.append)
    notes("both")
    assert said == ["both"]
    notes.bring()
    assert said == ["both", "theirs"]


def test_the_others_say_nothing_and_give_what_they_noted_once():
    said, given = [], []

    class Second(Two):
        def gather(self, value):
            given.append(value)
            return [[], value]

    notes = JointNotes(Second(rank=1), said.append)
    notes("broken")
    notes.bring()
    notes.bring()
    assert said == []
    assert given == [["broken"], []]


def test_nobody_need_listen():
    notes = JointNotes(Two(other=["theirs"]), None)
    notes("ours")
    notes.bring()


def test_progress_is_of_the_main_process():
    def begin(part):
        return part

    assert begin_on_main(ALONE, begin) is begin
    assert begin_on_main(Two(), begin) is begin
    assert begin_on_main(Two(rank=1), begin)("matching") is silent


def facts_of(**changes):
    """The digests that a process with other images, classes or model gives."""
    given: list[Any] = []

    class Spy(Two):
        def gather(self, value):
            given.append(value)
            return [value, value]

    values = {"samples": SAMPLES, "class_set": CLASS_SET, "record": {"weights_sha256": "1", "precision": "fp32"}}
    values |= changes
    check_same_on_all(Spy(), values["samples"], values["class_set"], SimpleNamespace(record=values["record"]))
    return given[0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"samples": SAMPLES[:1]}, "images and labels"),
        ({"samples": [SAMPLES[0], Sample("b", Path("b.jpg"), (2,))]}, "images and labels"),
        ({"class_set": ClassSet(("boat", "dog"))}, "classes"),
        ({"record": {"weights_sha256": "2", "precision": "bf16"}}, "weights, precision"),
    ],
)
def test_processes_that_see_something_else_are_refused(changes, named):
    engine = SimpleNamespace(record={"weights_sha256": "1", "precision": "fp32"})
    for rank in range(2):
        ranks = Two(rank=rank, other=facts_of(**changes))
        with pytest.raises(SettingsError, match=f"process 1 of 2 has other {named} than the first: give all machines"):
            check_same_on_all(ranks, SAMPLES, CLASS_SET, engine)


def test_the_same_elsewhere_on_the_disk_is_the_same():
    elsewhere = [Sample(sample.id, Path("/fast") / sample.image_path, sample.class_indices) for sample in SAMPLES]
    engine = SimpleNamespace(record={"weights_sha256": "1", "precision": "fp32"})
    check_same_on_all(Two(other=facts_of(samples=elsewhere)), SAMPLES, CLASS_SET, engine)
    check_same_on_all(ALONE, SAMPLES, CLASS_SET, None)


def test_every_process_makes_a_shard_of_the_masks_and_all_know_how_it_ended():
    first = RunSummary(1, 4, (("s2", "no label"),), (("f", "bad"),), 3.0)
    second = RunSummary(2, 0, (("s1", "no label"),), (), 5.0)
    for rank, own, other in ((0, first, second), (1, second, first)):
        make = Mock(return_value=own)
        ended = make_masks(Two(rank=rank, other=other), make)
        make.assert_called_once_with(Shard(rank + 1, 2))
        assert ended == RunSummary(3, 4, (("s1", "no label"), ("s2", "no label")), (("f", "bad"),), 5.0)


def test_one_process_makes_all_masks():
    summary, shards = RunSummary(1, 0, (), (), 0.0), []
    assert make_masks(ALONE, lambda shard: shards.append(shard) or summary) is summary
    assert shards == [None]
