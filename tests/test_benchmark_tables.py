"""Tables and bookkeeping of the benchmarks on worlds: by hand, without training anything."""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("ablation", "confidence", "confidence_tables", "pipeline_world", "runs", "tables"):
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


def test_the_area_under_risk_and_coverage_by_hand():
    from confidence_tables import aurc

    risk = np.array([0.0, 0.6, 0.3])
    assert aurc(np.array([0.9, 0.1, 0.5]), risk) == pytest.approx((0.0 + 0.15 + 0.3) / 3)
    assert aurc(np.array([0.1, 0.9, 0.5]), risk) == pytest.approx((0.6 + 0.45 + 0.3) / 3)
    assert aurc(np.zeros(3), risk) == pytest.approx((0.0 + 0.3 + 0.3) / 3)  # equals keep their order


def test_the_gain_is_1_for_the_best_order_and_below_0_for_one_worse_than_random():
    from confidence_tables import aurc_gain

    quality = np.array([1.0, 0.4, 0.7])
    assert aurc_gain(quality**3, quality) == pytest.approx(1)
    assert aurc_gain(np.array([0.5, 0.6, 0.7]), quality) == pytest.approx((0.3 - (0.3 + 0.45 + 0.3) / 3) / 0.15)
    assert aurc_gain(-quality, quality) == pytest.approx((0.3 - 0.45) / 0.15)


def test_the_surest_regions_by_share():
    from confidence_tables import kept_quality

    sure, quality = np.array([0.1, 0.4, 0.3, 0.2]), np.array([0.0, 0.9, 0.5, 0.2])
    assert kept_quality(sure, quality) == pytest.approx([90, 70, 160 / 3, 40])
    assert kept_quality(np.array([0.3]), np.array([0.5])) == pytest.approx([50] * 4)  # never an empty share


def test_a_level_keeps_at_least_the_share_that_was_asked_for():
    from confidence_tables import level_for

    sure = np.arange(10) / 10
    assert [level_for(sure, share) for share in (1.0, 0.85, 0.5, 0.2)] == [0.0, 0.1, 0.4, 0.7]
    tied = np.array([0.5, 1.0, 1.0, 1.0])
    assert level_for(tied, 0.5) == 1.0
    assert (tied >= level_for(tied, 0.5)).mean() == 0.75


def test_rho_within_a_class_does_not_see_that_classes_differ():
    from confidence_tables import rho_within

    quality = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    classes = np.repeat([3, 7], 5)
    sure = np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rho_within(sure, quality, classes) == pytest.approx((-1 + 1) / 2)
    assert rho_within(sure[:6], quality[:6], classes[:6]) == pytest.approx(-1)  # one region is too few
    assert np.isnan(rho_within(sure[:4], quality[:4], classes[:4]))
    assert np.isnan(rho_within(np.zeros(10), quality, classes))  # equally sure of all: no rank


def test_rho_within_a_class_over_runs():
    from confidence_tables import FEWEST, MATCH, within_table

    def longer(run):
        for region in run["regions"].values():
            region.update({key: [*values, values[-1]] for key, values in region.items()})
        return run

    runs = [longer(confidence_run(world, list(each), kinds=("seeds",))) for world, each in ((1, (1, 2, 3, 4)),)]
    assert len(runs[0]["regions"]["seeds"]["class"]) == FEWEST
    table = cells(within_table(runs))
    assert table[0] == ["within a class", "seeds"]
    assert table[2] == [MATCH, "1.00"]
    assert cells(within_table([confidence_run(1, [0.1, 0.2, 0.3, 0.4])]))[2][1:] == ["nan", "nan"]


def confidence_run(world, measure, coverage=100.0, kinds=("seeds", "seeds + CRF")):
    from confidence_tables import MATCH, MEASURES

    region = {key: [0.1, 0.2, 0.3, 0.4] for key in MEASURES} | {"iou": [0.2, 0.4, 0.6, 0.8], MATCH: measure}
    region |= {"class": [1, 1, 1, 1]}
    pixels = [{"coverage": coverage, "level": 0.5, "accuracy": 80.0, "miou": 40.0 + world}]
    parts = {"regions": dict.fromkeys(kinds, region), "pixels": dict.fromkeys(kinds, pixels)}
    return {"run": {"world": world, "seed": 0}, "fingerprint": "m"} | parts


def test_measures_are_means_over_runs_with_the_gain_in_brackets():
    from confidence_tables import MEASURES, make_tables, measures_table

    runs = [confidence_run(1, [0.1, 0.2, 0.3, 0.4]), confidence_run(2, [0.4, 0.3, 0.2, 0.1])]
    table = cells(measures_table(runs))
    assert table[0] == ["measure", "seeds", "seeds + CRF"]
    assert [line[0] for line in table[2:]] == list(MEASURES)
    assert table[2][1:] == ["0.00 ± 1.41 (0.00)"] * 2
    assert table[3][1:] == ["1.00 ± 0.00 (1.00)"] * 2
    assert cells(measures_table(runs[1:]))[2][1] == "-1.00 (-1.00)"
    said, *tables = make_tables(runs)
    assert said == "2 runs; regions in each: 4, 4"
    assert len(tables) == 4


def test_curves_of_risk_and_coverage_and_levels_of_pixels():
    from confidence_tables import CURVES, curves_table, pixels_table

    runs = [confidence_run(1, [0.1, 0.2, 0.3, 0.4]), confidence_run(3, [0.4, 0.3, 0.2, 0.1], coverage=98.0)]
    table = cells(curves_table(runs))
    assert table[0][2:] == ["surest 25 %", "surest 50 %", "surest 75 %", "surest 100 %"]
    assert [line[:2] for line in table[2:5]] == [["seeds", measure] for measure in CURVES]
    assert table[2][2:] == ["50.0 ± 42.4", "50.0 ± 28.3", "50.0 ± 14.1", "50.0 ± 0.0"]
    assert table[3][2:] == ["80.0 ± 0.0", "70.0 ± 0.0", "60.0 ± 0.0", "50.0 ± 0.0"]
    lines = cells(pixels_table(runs))
    assert lines[2] == ["seeds", "99.0 ± 1.4", "0.50000 ± 0.00000", "80.0 ± 0.0", "42.0 ± 1.4"]
    assert [line[0] for line in lines[2:]] == ["seeds", "seeds + CRF"]


def test_the_margin_is_that_to_the_runner_up_and_background_is_one():
    from confidence import margin

    scores = np.array([[[0.9, 0.1, 0.4]], [[0.1, 0.2, 0.6]]], np.float32)
    assert margin(scores, 0.4) == pytest.approx(np.array([[0.9 / 1.3, 0.4 / 0.6, 0.6]]))
    assert margin(scores[:1], 0.4) == pytest.approx(np.array([[0.9 / 1.3, 0.8, 0.5]]))


def test_the_iou_of_regions():
    from confidence import iou

    one, other = np.array([True, True, False]), np.array([False, True, False])
    assert iou(one, other) == 0.5
    assert iou(one, ~one) == 0
    assert iou(one & ~one, other & ~other) == 1


def test_pixels_below_the_level_count_nowhere():
    from confidence import judge_level

    sure = np.array([[[0.9, 0.8], [0.2, 0.1]]])
    labels = np.array([[[1, 0], [1, 0]]], np.uint8)
    targets = np.array([[[1, 0], [0, 0]]], np.uint8)
    assert judge_level(sure, labels, targets, 0.0) == pytest.approx(
        {"level": 0.0, "coverage": 100, "accuracy": 75, "miou": 100 * (2 / 3 + 1 / 2) / 2}
    )
    assert judge_level(sure, labels, targets, 0.8) == pytest.approx(
        {"level": 0.8, "coverage": 50, "accuracy": 100, "miou": 100}
    )


def test_single_views_are_each_scale_and_mirrored_back():
    from confidence import single_views

    from semples_cli.config import CamSettings

    asked = []

    def make(images, settings):
        asked.append((settings.scales, settings.flips))
        return [image[None, :, :, 0] / np.float32(255) for image in images]

    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    views = list(single_views([image], make, CamSettings(scales=(0.75, 1.0, 1.5), flips=True)))
    assert asked == [((0.75,), False), ((1.0,), False), ((1.5,), False), ((1.0,), False)]
    assert all(np.array_equal(view, views[0][0]) for (view,) in views)


def masks_by_hand():
    from confidence import AFTER, BEFORE, Masks

    seed = np.array([[1, 1], [2, 0]], np.uint8)
    refined = np.array([[1, 1], [1, 0]], np.uint8)
    views = [seed, np.array([[1, 0], [0, 0]], np.uint8)]
    scores = np.array([[[0.8, 0.6], [0.1, 0.1]], [[0.2, 0.2], [0.5, 0.1]]], np.float32)
    labels = {BEFORE: seed, AFTER: refined}
    return Masks(scores, np.array([[0.7, 0.5], [0.6, 0.9]]), np.array([[1.0, 0.8], [0.6, 0.9]]), labels, views)


def test_measures_of_a_region_by_hand():
    from confidence import AREA, CRF, MARGIN, POSTERIOR, SCORE, VIEWS, measure_region

    masks = masks_by_hand()
    before, after = (measure_region(masks, each == 1, 1) for each in masks.labels.values())
    assert before == pytest.approx({AREA: 0.5, SCORE: 0.7, MARGIN: 0.6, POSTERIOR: 0.9, VIEWS: 0.75, CRF: 2 / 3})
    assert after == pytest.approx({AREA: 0.75, SCORE: 1.9 / 3, MARGIN: 0.6, POSTERIOR: 0.8, VIEWS: 0.75, CRF: 2 / 3})


def test_a_region_of_no_pixel_has_confidence_0():
    from confidence import AFTER, MEASURES, measure_region

    masks = masks_by_hand()
    assert measure_region(masks, masks.labels[AFTER] == 2, 2) == dict.fromkeys(MEASURES, 0.0)


def test_confidence_from_end_to_end(tmp_path, monkeypatch, capsys):
    import confidence

    path, tuning = tmp_path / "runs.json", confidence.Tuning()
    cams = (replace(each, scales=(1.0,), flips=False) for each in (tuning.cams, tuning.generator_cams))
    prompts = replace(tuning.prompts, epochs=1, views=1, prompt_length=2)
    small = confidence.Tuning(*cams, replace(tuning.generator, epochs=1), prompts, tuning.crf)
    monkeypatch.setattr(confidence, "Tuning", lambda: small)
    command = ["confidence.py", "--worlds", "1", "--num-images", "6", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", command)
    confidence.main()
    first = capsys.readouterr()
    (written,) = json.loads(path.read_text())["runs"]
    assert list(written["regions"]) == list(written["pixels"]) == ["seeds", "seeds + CRF", "SemPLeS", "SemPLeS + CRF"]
    for region in written["regions"].values():
        assert {len(values) for values in region.values()} == {len(region["iou"])} != {0}
        assert all(0 <= value <= 1 for key, values in region.items() if key != "class" for value in values)
    for levels in written["pixels"].values():
        assert [each["coverage"] >= 100 * share for each, share in zip(levels, confidence.COVERED, strict=True)] == [
            True
        ] * 4
    monkeypatch.setattr(sys, "argv", ["confidence.py", "--tables", str(path)])
    confidence.main()
    assert capsys.readouterr().out == first.out
