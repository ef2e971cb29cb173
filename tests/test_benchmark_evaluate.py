"""The benchmark of evaluate, at a very small size: it runs, compares counts, and says what it measured."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ARGUMENTS = ["--images", "2", "--thresholds", "3", "--classes", "4", "--maps", "2", "--rounds", "1"]
PARTS = ["read PNG", "read CAM", "resize", "one pass", "loop", "plain loop"]
WHOLE = [f"{what}, {threads}" for what in ("masks", "CAMs") for threads in ("1 thread", "2 threads", "4 threads")]


@pytest.fixture
def evaluate(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("evaluate", None)
    import evaluate

    yield evaluate
    sys.modules.pop("evaluate", None)


def test_json_names_what_was_measured(evaluate, capsys):
    evaluate.main([*ARGUMENTS, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["images"] == 2
    assert list(document["seconds"]) == PARTS + WHOLE
    assert all(seconds > 0 for seconds in document["seconds"].values())


def test_the_table_has_a_line_for_each(evaluate, capsys):
    evaluate.main(ARGUMENTS)
    machine, *lines = capsys.readouterr().out.splitlines()
    assert "2 images 375 x 500" in machine
    assert [line.split("  ")[0].strip() for line in lines] == PARTS + WHOLE


@pytest.mark.parametrize(
    ("name", "message"), [("plain_loop", "the counts differ"), ("compare_masks", "counts of threads differ")]
)
def test_counts_that_differ_are_not_timed(evaluate, monkeypatch, name, message):
    class Wrong:
        def count(self, progress, workers):
            counts = original(*self.given).count(progress=progress, workers=1)
            counts.confusion[0, 0] += workers
            return counts

    def wrong(*given):
        if name == "plain_loop":
            return [counts + 1 for counts in original(*given)]
        comparison = Wrong()
        comparison.given = given
        return comparison

    original = getattr(evaluate, name)
    monkeypatch.setattr(evaluate, name, wrong)
    with pytest.raises(SystemExit, match=message):
        evaluate.main(ARGUMENTS)
