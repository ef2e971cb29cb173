"""The ablation's tables and the sweeps' bookkeeping, on figures written by hand; and both scripts once, very small."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("ablation", "pipeline_world", "runs", "sweeps", "tables")


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


def figures(value, **others):
    keys = ("default", "tuned", "best", "leakage_default", "leakage_tuned", "crf_default", "crf_tuned", "lost")
    return dict.fromkeys(keys, value) | others


def run_of(world, seed, rows, mark="m", own=None, **settings):
    about = {"world": world, "seed": seed, "pairing": 0, "bias": 0.9, "num_images": 200} | settings
    made = {"run": about, "fingerprint": mark, "commit": "c", "seconds": 1, "rows": rows}
    return made if own is None else made | {"prompts": {"own": own, "missed": {}}}


def write(path, runs):
    path.write_text(json.dumps({"format_version": 1, "runs": runs}))
    return path


def lines_of(text, start):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if start in line]


def all_seed_rows(world, seed, refined, prompted):
    from ablation import PROMPTED, SEMPLES

    return run_of(world, seed, {PROMPTED: figures(prompted), SEMPLES: figures(refined)}, own=80.0 + 10 * seed)


def free_rows(world, none, words):
    from ablation import HAND_WRITTEN, NO_WORDS

    return run_of(world, None, {NO_WORDS: figures(none), HAND_WRITTEN: figures(words)})


def test_best_of_the_seeds_is_chosen_for_each_run_and_figure():
    from ablation import BEST_SEEDS, HAND_WRITTEN, NO_WORDS, PROMPTED, with_best_seeds

    free = {NO_WORDS: figures(30.0, lost=2), HAND_WRITTEN: figures(20.0, best=50.0, leakage_tuned=5.0, lost=1)}
    other_world = run_of(2, None, {NO_WORDS: figures(99.0), HAND_WRITTEN: figures(99.0)})
    trained = run_of(1, 0, {PROMPTED: figures(25.0, crf_tuned=70.0, lost=3)})
    made = with_best_seeds([run_of(1, None, free), other_world, trained])
    assert made[2]["rows"][BEST_SEEDS] == {
        "default": 30.0,
        "tuned": 30.0,
        "best": 50.0,
        "leakage_default": 20.0,
        "leakage_tuned": 5.0,
        "crf_default": 30.0,
        "crf_tuned": 70.0,
        "lost": 1,
    }
    assert BEST_SEEDS not in trained["rows"]  # what was read stays as it was
    assert all(BEST_SEEDS not in run["rows"] for run in made[:2])


def test_there_is_no_best_of_seeds_that_were_not_all_measured():
    from ablation import BEST_SEEDS, with_best_seeds

    made = with_best_seeds([free_rows(2, 1.0, 2.0), all_seed_rows(1, 0, 40.0, 30.0)])
    assert all(BEST_SEEDS not in run["rows"] for run in made)


def test_tables_of_several_files(tmp_path, monkeypatch, capsys):
    import ablation

    one = write(tmp_path / "1.json", [free_rows(1, 30.0, 33.0), all_seed_rows(1, 0, 40.0, 32.0)])
    two = write(tmp_path / "2.json", [all_seed_rows(1, 1, 30.0, 36.0), all_seed_rows(1, 0, 40.0, 32.0)])
    monkeypatch.setattr(sys, "argv", ["ablation.py", "--tables", str(one), str(two)])
    ablation.main()
    said = capsys.readouterr().out
    # seed 0: 40 − 33, seed 1: 30 − 36; the run that both files hold counts once
    assert lines_of(said, "− best of the seeds")[0][1] == "+0.5 ± 9.2 (1/2)"
    assert lines_of(said, f"{ablation.PROMPTED} − {ablation.HAND_WRITTEN}")[0][1] == "+1.0 ± 2.8 (1/2)"
    assert lines_of(said, f"{ablation.SEMPLES} (at")[0][1:3] == ["2", "35.0 ± 7.1"]
    assert "own background: 85.0 ± 7.1 % of the prompts, over 2 runs" in said


@pytest.mark.parametrize(
    ("other", "title"),
    [
        (run_of(1, 1, {}, bias=0.1), "pairing 0, bias 0.1, num images 200 (settings m)"),
        (run_of(1, 1, {}, pairing=5), "pairing 5, bias 0.9, num images 200 (settings m)"),
        (run_of(1, 1, {}, num_images=8), "pairing 0, bias 0.9, num images 8 (settings m)"),
        (run_of(1, 1, {}, mark="n"), "pairing 0, bias 0.9, num images 200 (settings n)"),
    ],
)
def test_what_was_measured_otherwise_has_a_table_of_its_own(other, title):
    from ablation import by_settings

    first, second = run_of(1, 0, {}), run_of(2, 0, {})
    groups = by_settings([first, other, second, first])
    assert groups == {"pairing 0, bias 0.9, num images 200 (settings m)": [first, second], title: [other]}


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        '{"runs": [',
        '{"format_version": 1, "runs": []}',
        '{"format_version": 1, "runs": [7]}',
        '{"format_version": 1, "runs": [{"run": {}, "fingerprint": "m", "sweeps": {}}]}',
    ],
)
def test_a_file_without_runs_of_the_ablation_is_one_line_of_error(tmp_path, monkeypatch, capsys, text):
    import ablation

    path = tmp_path / "runs.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["ablation.py", "--tables", str(path)])
    with pytest.raises(SystemExit) as ended:
        ablation.main()
    assert isinstance(ended.value.code, str)  # which Python prints, and exits with 1
    assert ended.value.code.startswith(f"{path}: no")
    assert "; give " in ended.value.code
    assert "\n" not in ended.value.code
    assert capsys.readouterr().out == ""


class CountedWorld:
    """Stands for a world: counts what is made, and makes numbers that follow from the settings."""

    def __init__(self):
        from semples_cli.config import WorldSettings

        self.engine, self.settings, self.made = None, WorldSettings(), []

    def train(self, stage, settings, start=None, texts=None):
        self.made.append(stage)
        return (stage, settings, start, None if texts is None else texts.features)

    def learn(self, maps, settings):
        self.made.append("prompts")
        return (maps, settings)

    def generator_maps(self, generator, settings):
        return generator

    def seeds(self, settings, prompts=None):
        return ("seeds", prompts)

    def measure(self, maps, score):
        self.made.append("figures")
        return {"of": maps}


@pytest.fixture
def trainings(monkeypatch):
    import sweeps

    monkeypatch.setattr(sweeps, "describe", lambda engine, learned, pairing: {"own": 100.0, "missed": {}})
    return sweeps.Trainings(CountedWorld(), 3)


def count(trainings, names):
    import sweeps

    trainings.world.made.clear()
    made = {
        f"{name}: {v}": trainings.measure(f(sweeps.Tuning())) for name in names for v, f in sweeps.SWEEPS[name].items()
    }
    return made, {what: trainings.world.made.count(what) for what in ("initial", "matched", "prompts", "refined")}


def test_sweeps_of_prompts_share_the_generators(trainings):
    made, counts = count(trainings, ["prompt-length"])
    assert len(made) == 4
    assert counts == {"initial": 1, "matched": 1, "prompts": 4, "refined": 4}
    assert trainings.world.made.count("figures") == 4 + 1 + 4


def test_sweeps_of_lambda_r_share_the_prompts(trainings):
    _, counts = count(trainings, ["lambda-r"])
    assert counts == {"initial": 1, "matched": 1, "prompts": 1, "refined": 6}


def test_sweeps_of_the_head_share_nothing(trainings):
    _, counts = count(trainings, ["residual"])
    assert counts == {"initial": 4, "matched": 4, "prompts": 4, "refined": 4}


def test_one_tuning_is_measured_once_whatever_it_is_called(trainings):
    from sweeps import SWEEPS, Tuning

    count(trainings, SWEEPS)
    tunings = {change(Tuning()) for values in SWEEPS.values() for change in values.values()}
    again, counts = count(trainings, SWEEPS)
    assert set(counts.values()) == {0}
    assert len({id(each) for each in again.values()}) == len(tunings) < len(again)


def test_nothing_is_shared_that_would_differ(trainings):
    """What a value is measured on was trained with that value's settings, λ_r of (a) and the seeds apart."""
    from sweeps import MATCHED, SEMPLES, Tuning, of_generator

    tuning = of_generator(lambda_b=2.4, lambda_r=0.5, similarity="clamp")(Tuning())
    rows = trainings.measure(tuning)["rows"]
    stage, settings, (_, first, _, _), (matched, prompts) = rows[SEMPLES]["of"]
    assert (stage, settings) == ("refined", replace(tuning.generator, seed=3))
    assert first == replace(Tuning().generator, seed=3)
    assert prompts == replace(tuning.prompts, seed=3)
    assert matched == rows[MATCHED]["of"]
    assert matched[1] == replace(tuning.generator, seed=3, lambda_r=0.0)


def test_each_sweep_changes_what_it_is_named_after():
    from sweeps import SWEEPS, Tuning

    base = Tuning()
    assert [change(base).prompts.prompt_length for change in SWEEPS["prompt-length"].values()] == [1, 4, 10, 30]
    lambdas = [change(base).prompts.lambda_t for change in SWEEPS["lambda-t"].values()]
    assert lambdas == [0.02, 0.05, 0.1, 0.2, 0.3, 0.5]
    assert [f(base).generator.lambda_r for f in SWEEPS["lambda-r"].values()] == [0.0, 0.05, 0.1, 0.2, 0.5, 1.0]
    assert [f(base).generator.lambda_b for f in SWEEPS["lambda-b"].values()] == [0.1, 0.3, 0.75, 1.5, 2.4]
    similarities = {
        v: (f(base).prompts.similarity, f(base).generator.similarity) for v, f in SWEEPS["similarity"].items()
    }
    assert similarities["both clamp"] == ("clamp", "clamp")
    assert similarities["both half"] == ("half", "half")
    assert {f(base).prompts.start for f in SWEEPS["start"].values()} == {"uniform", "tokens"}


def test_published_presets_keep_the_size_of_the_training():
    from sweeps import SWEEPS, Tuning

    from semples_cli.config import GENERATOR_PRESETS, PROMPT_PRESETS

    base, made = Tuning(), SWEEPS["published"]["coco14"](Tuning())
    assert (made.prompts.epochs, made.generator.epochs) == (base.prompts.epochs, base.generator.epochs)
    assert made.generator.for_refinement().batch_size == base.generator.batch_size
    assert made.prompts.lambda_t == PROMPT_PRESETS["coco14"].lambda_t
    assert made.generator.drop_path == GENERATOR_PRESETS["coco14"].drop_path
    assert (made.cams, made.crf) == (base.cams, base.crf)


def test_sweeps_are_marked_by_every_setting_that_they_try(monkeypatch):
    import sweeps

    before = sweeps.mark_of(("published",))
    assert before == sweeps.mark_of(("published",)) != sweeps.mark_of(("start",))
    changed = replace(sweeps.PROMPT_PRESETS["voc12"], lambda_t=0.5)
    monkeypatch.setitem(sweeps.PROMPT_PRESETS, "voc12", changed)
    monkeypatch.setitem(sweeps.SWEEPS["published"], "voc12", sweeps.published("voc12"))
    assert sweeps.mark_of(("published",)) != before


def test_a_line_of_a_sweep_is_over_its_runs():
    from sweeps import MATCHED, SEEDS, SEMPLES, table

    def of(value, own):
        rows = {SEEDS: figures(value), MATCHED: figures(10.0), SEMPLES: figures(50.0, leakage_default=8.0)}
        return {"start: tokens": {"rows": rows, "prompts": {"own": own}}}

    runs = [{"sweeps": of(30.0, 100.0)}, {"sweeps": of(34.0, 90.0)}, {"sweeps": {}}]
    (cells,) = lines_of(table(runs), "start: tokens")
    assert cells[:3] == ["start: tokens", "2", "32.0 ± 2.8"]
    assert cells[-2:] == ["8.0 ± 0.0", "95.0 ± 7.1 %"]
    assert len(cells) == 2 + 9 + 1


@pytest.fixture
def world():
    from pipeline_world import World

    from semples_cli.config import WorldSettings

    return World(None, WorldSettings(seed=1, num_images=4))


def maps_of(world, shift):
    """The ground truth of each class as its map; with a shift, classes take each other's."""
    return [
        np.stack([(scene.target == classes[(n + shift) % len(classes)]) for n in range(len(classes))]).astype(
            np.float32
        )
        for scene, classes in zip(world.scenes, world.present, strict=True)
    ]


def test_figures_of_the_ground_truth_itself(world):
    made = world.measure(maps_of(world, 0), 0.5)
    assert (made["default"], made["tuned"], made["best"]) == (100.0, 100.0, 100.0)
    assert (made["leakage_default"], made["lost"]) == (0.0, 0.0)
    present = {k for classes in world.present for k in classes}
    known = {name: value for name, value in made["iou_default"].items() if value is not None}
    assert known == dict.fromkeys(
        ["background", *(name for k, name in enumerate(made["iou_default"]) if k in present)], 100.0
    )
    json.loads(json.dumps(made, allow_nan=False))


def test_figures_of_masks_without_any_object(world):
    made = world.measure([np.zeros_like(each) for each in maps_of(world, 0)], 0.5)
    present = {k for classes in world.present for k in classes}
    assert made["lost"] == len(present)
    values = [value for value in made["iou_tuned"].values() if value is not None]
    assert len(values) == 1 + len(present)
    assert made["tuned"] == pytest.approx(np.mean(values), abs=0.01)
    assert made["iou_tuned"]["background"] < 100


def test_tuned_figures_are_at_their_own_score(world):
    made = world.measure([0.5 * each for each in maps_of(world, 0)], 0.6)
    assert (made["default"], made["leakage_default"]) == (100.0, 0.0)
    assert made["iou_default"]["background"] == 100.0
    assert made["tuned"] < 100
    assert made["iou_tuned"]["background"] < 100
    assert made["lost"] == len({k for classes in world.present for k in classes})


def test_the_crf_is_the_same_with_a_pool_and_without(world):
    from pipeline_world import crf_pool, refine_all

    from semples_cli.demo.model import DEMO_CRF_SETTINGS

    masks = [np.roll(scene.target, 2, 0) for scene in world.scenes]
    alone = refine_all(world.images, masks, DEMO_CRF_SETTINGS)
    assert any((one != two).any() for one, two in zip(alone, masks, strict=True))
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(refine_all(world.images, masks, DEMO_CRF_SETTINGS, pool), alone)
    with crf_pool(1) as none:
        assert none is None


def test_processes_of_the_crf_end_with_their_run():
    """Processes that are left open keep a job of `--jobs`, itself a process of a pool, from ending."""
    from pipeline_world import crf_pool

    with crf_pool(2) as pool:
        pass
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)


def small_tuning():
    from pipeline_world import Tuning

    tuning = Tuning()
    generator = replace(tuning.generator, epochs=1)
    cams = (replace(each, scales=(1.0,), flips=False) for each in (tuning.cams, tuning.generator_cams))
    return Tuning(*cams, generator, replace(tuning.prompts, epochs=1, views=1, prompt_length=2), tuning.crf)


def test_the_ablation_from_end_to_end(tmp_path, monkeypatch, capsys):
    import ablation

    path = tmp_path / "runs.json"
    small = small_tuning()
    monkeypatch.setattr(ablation, "Tuning", lambda: small)
    command = ["ablation.py", "--worlds", "1", "--seeds", "0", "--num-images", "4", "--crf-workers", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--json", str(path)])
    ablation.main()
    first = capsys.readouterr()
    written = json.loads(path.read_text())["runs"]
    assert [run["run"]["seed"] for run in written] == [None, 0]
    assert [row for run in written for row in run["rows"]] == list(ablation.TUNED_SCORES)
    ablation.main()  # nothing is left to do
    assert capsys.readouterr() == (first.out, "")


def test_lambda_r_0_repeats_matching_alone(monkeypatch):
    import sweeps
    from pipeline_world import World

    from semples_cli.config import EngineSettings, WorldSettings
    from semples_cli.demo.model import model_dir
    from semples_cli.engine.build import build_engine

    small = small_tuning()
    monkeypatch.setattr(sweeps, "Tuning", lambda: small)
    engine = build_engine(EngineSettings(weights=str(model_dir()), device="cpu", precision="fp32"))
    trainings = sweeps.Trainings(World(engine, WorldSettings(seed=1, num_images=4)), 0)
    rows = trainings.measure(sweeps.SWEEPS["lambda-r"]["0.0"](small))["rows"]
    assert rows[sweeps.SEMPLES] == rows[sweeps.MATCHED]
    others = trainings.measure(sweeps.SWEEPS["lambda-r"]["1.0"](small))["rows"]
    assert others[sweeps.SEMPLES] != others[sweeps.MATCHED] == rows[sweeps.MATCHED]
