"""Tables and bookkeeping of the benchmarks on worlds: by hand, without training anything."""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("runs", "tables"):
        sys.modules.pop(name, None)


def figures(value, **others):
    keys = ("default", "tuned", "best", "leakage_default", "leakage_tuned", "crf_default", "crf_tuned", "lost")
    return dict.fromkeys(keys, value) | others


def run_of(world, seed, rows, prompts=None, mark="m"):
    run = {"run": {"world": world, "seed": seed, "bias": 0.9}, "fingerprint": mark, "rows": rows}
    return run if prompts is None else run | {"prompts": prompts}


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_rows_are_means_with_their_spread():
    from tables import rows_table

    runs = [run_of(1, None, {"seeds": figures(30.0)}), run_of(1, 0, {"refined": figures(40.0, lost=1)})]
    runs.append(run_of(1, 1, {"refined": figures(44.0, lost=0)}))
    table = cells(rows_table(runs, {"seeds": 0.4, "refined": 0.6, "unknown": 0.5}))
    assert table[0][:3] == ["row", "runs", "mIoU at 0.4"]
    assert [line[0] for line in table[2:]] == ["seeds (at 0.4)", "refined (at 0.6)"]
    assert table[2][1:] == ["1"] + ["30.0"] * 8
    assert table[3][1:] == ["2"] + ["42.0 ± 2.8"] * 7 + ["0.5 ± 0.7"]


def test_differences_are_taken_within_a_world_and_a_seed():
    from tables import paired_table

    runs = [
        run_of(1, None, {"seeds": figures(30.0)}),
        run_of(2, None, {"seeds": figures(50.0)}),
        run_of(1, 0, {"matched": figures(40.0), "refined": figures(43.0, leakage_tuned=20.0)}),
        run_of(2, 0, {"matched": figures(44.0), "refined": figures(43.0)}),
        run_of(2, 0, {"matched": figures(0.0)}, mark="with other settings"),
    ]
    table = cells(paired_table(runs, [("refined", "matched"), ("refined", "seeds"), ("refined", "unknown")]))
    assert len(table) == 4
    assert table[2][0] == "refined − matched"
    assert table[2][1] == "+1.0 ± 2.8 (1/2)"
    assert table[2][5] == "-10.5 ± 13.4 (0/2)"
    assert table[3][1] == "+3.0 ± 14.1 (1/2)"
    assert table[0][-1] == "classes lost"
    assert table[2][-1] == "+1.0 ± 2.8 (1/2)"


def test_prompts_that_missed_are_named():
    from tables import prompts_table

    runs = [run_of(1, None, {}), run_of(1, 2, {}, {"own": 90.0, "missed": {"boat": "road"}})]
    assert cells(prompts_table(runs))[2:] == [["1", "2", "90 %", "boat: road"]]
    runs = [run_of(1, 2, {}, {"own": 100.0, "missed": {}})]
    assert cells(prompts_table(runs))[2][-1] == "–"


def arguments(path, jobs=1):
    return argparse.Namespace(json=path, jobs=jobs)


def seed_of(engine, run):
    """Stands for the work."""
    return {"rows": {}, "prompts": {"own": engine.width + run.seed}}


def test_a_run_that_is_in_the_file_is_not_repeated(tmp_path, capsys):
    from runs import Run, do_runs, read_runs

    path = tmp_path / "new" / "runs.json"
    one, two = (Run(1, seed, 0, 0.9, 4) for seed in (0, 1))
    (first,) = do_runs([one], "a", seed_of, arguments(path))
    assert first["run"] == asdict(one)
    assert "world 1, seed 0" in capsys.readouterr().err
    both = do_runs([two, one], "a", seed_of, arguments(path))
    assert [each["run"]["seed"] for each in both] == [1, 0]
    assert both[1] == first
    assert "seed 0" not in capsys.readouterr().err
    (other,) = do_runs([one], "b", seed_of, arguments(path))  # other settings: done anew, and both are kept
    assert other["fingerprint"] == "b"
    assert len(read_runs(path)) == 3
    assert json.loads(path.read_text())["format_version"] == 1


def seed_1_fails(engine, run):
    if run.seed == 1:
        raise ValueError("no figures")
    return seed_of(engine, run)


def test_what_other_jobs_made_is_kept_when_one_fails(tmp_path, monkeypatch):
    import runs
    from runs import Run, do_runs, read_runs

    monkeypatch.setattr(runs, "ProcessPoolExecutor", lambda jobs, *others: ThreadPoolExecutor(jobs))
    path = tmp_path / "runs.json"
    wanted = [Run(1, seed, 0, 0.9, 4) for seed in (1, 0, 2)]
    with pytest.raises(ValueError, match="no figures"):
        do_runs(wanted, "a", seed_1_fails, arguments(path, jobs=2))
    assert sorted(each["run"]["seed"] for each in read_runs(path)) == [0, 2]


def test_a_run_that_is_wanted_twice_is_done_once(tmp_path):
    from runs import Run, do_runs

    run = Run(1, 0, 0, 0.9, 4)
    assert len(do_runs([run, run], "a", seed_of, arguments(tmp_path / "runs.json"))) == 1


def test_a_folder_is_no_file_of_runs(tmp_path):
    from runs import read_runs

    with pytest.raises(SystemExit, match="not a file of runs"):
        read_runs(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"runs": []}', '{"format_version": 2, "runs": []}', '{"format_version": 1, "runs": [7]}']
)
def test_another_file_is_left_alone(tmp_path, text):
    from runs import read_runs

    path = tmp_path / "runs.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"runs\.json: not a file of runs"):
        read_runs(path)
    assert path.read_text() == text


def test_the_fingerprint_follows_the_settings():
    from runs import fingerprint

    from semples_cli.config import GeneratorSettings

    one = fingerprint([GeneratorSettings(), {"a": 1}])
    assert one == fingerprint([GeneratorSettings(), {"a": 1}])
    assert one != fingerprint([GeneratorSettings(epochs=7), {"a": 1}])
