"""The pipeline as a whole: what it writes, that it goes on stage by stage, and what it refuses before any training."""

import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from generator_files import CLASS_SET, samples_of
from generator_files import SETTINGS as GENERATOR_SETTINGS
from small_world import PHOTOS

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.artifacts.run_folder import RunFolder, read_run_record
from semples_cli.artifacts.run_lock import lock_run
from semples_cli.config import CRF_PRESETS, CamSettings, PromptSettings
from semples_cli.errors import ArtifactError, EngineError, SettingsError
from semples_cli.steps import crf_ahead, pipeline_crf
from semples_cli.steps import run_pipeline as step
from semples_cli.steps.apply_crf import apply_crf
from semples_cli.steps.choose_maker import choose_maker
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.pipeline_settings import PipelineSettings
from semples_cli.steps.progress import silent
from semples_cli.steps.refine_cams import generator_path, refine_cams
from semples_cli.steps.run_pipeline import run_pipeline
from semples_cli.types import ClassSet

CAMS = CamSettings(size=32, batch_size=2)
SETTINGS = PipelineSettings(
    prompts=PromptSettings(prompt_length=2, epochs=1, batch_size=2, views=1, min_images=1),
    generator=replace(GENERATOR_SETTINGS, epochs=1),
    cams=CAMS,
    generator_cams=replace(CAMS, affinity_layers="none"),
    crf=replace(CRF_PRESETS["semples-voc"], iterations=1),
)
STAGES = ["prompts", "seeds", "refined", "crf"]
MASKS = len(PHOTOS)


class InterruptedRun(BaseException):
    """Stands for Ctrl-C."""


@pytest.fixture
def pipeline(photos, clip_engine, tmp_path):
    def run(settings=SETTINGS, class_set=CLASS_SET, samples=None, out=None, **options):
        def begin(part):
            run.parts.append(part)
            return silent

        samples = samples_of(photos) if samples is None else samples
        options = {"inputs": (photos,), "workers": 1, "begin": begin, "note": run.notes.append, **options}
        return run_pipeline(samples, class_set, clip_engine, out or run.out, settings, **options)

    run.out, run.photos, run.parts, run.notes = tmp_path / "run", photos, [], []
    return run


def counts(stages):
    return {stage.name: (stage.summary.written, stage.summary.resumed) for stage in stages}


def test_every_stage_is_written_where_it_is_promised(pipeline):
    stages = pipeline()
    assert [stage.name for stage in stages] == STAGES
    assert [stage.output.name for stage in stages] == ["prompts.safetensors", "seeds", "refined", "crf"]
    assert counts(stages) == {"prompts": (3, 0), "seeds": (MASKS, 0), "refined": (MASKS, 0), "crf": (MASKS, 0)}
    assert {path.name for path in pipeline.out.iterdir()} == {
        ".semples", "crf", "generator_initial.safetensors", "generator_matched.safetensors", "matched",
        "prompts.safetensors", "refined", "seeds",
    }  # fmt: skip
    assert read_prompts(pipeline.out / "prompts.safetensors").class_names == CLASS_SET.names
    assert read_generator(generator_path(pipeline.out / "refined")).stage == "refined"
    for folder in ("seeds", "refined", "crf"):
        assert set(find_masks(pipeline.out / folder)) == set(PHOTOS)
        assert read_run_record(pipeline.out / folder)["inputs"] == [str(pipeline.photos)]


def test_each_folder_is_what_its_own_command_makes(pipeline, clip_engine, tmp_path):
    pipeline()
    samples, prompts = samples_of(pipeline.photos), read_prompts(pipeline.out / "prompts.safetensors")
    initial = pipeline.out / "generator_initial.safetensors"
    maker = choose_maker(clip_engine, CLASS_SET, CAMS, prompts=prompts)
    make_cams(samples, CLASS_SET, clip_engine, tmp_path / "a/seeds", maker.settings, generator=maker, progress=silent)
    refine_cams(
        samples, CLASS_SET, clip_engine, prompts, initial, tmp_path / "a/refined",
        SETTINGS.generator, SETTINGS.generator_cams, training_progress=silent, progress=silent,
    )  # fmt: skip
    apply_crf(tmp_path / "a/refined", pipeline.photos, tmp_path / "a/crf", SETTINGS.crf, workers=1, progress=silent)
    for folder in ("seeds", "refined", "crf"):
        for sample_id, path in find_masks(tmp_path / "a" / folder).items():
            np.testing.assert_array_equal(read_mask(path), read_mask(pipeline.out / folder / f"{sample_id}.png"))
    record = read_run_record(pipeline.out / "seeds")
    assert record["generator"] == maker.record
    assert record["generator"]["kind"] == "learned prompts"


def test_each_part_is_announced_in_order(pipeline):
    pipeline()
    learned = ["generator", "matching", "matched", "background regions", "prompts"]
    assert pipeline.parts == [*learned, "seeds", "refining", "refined", "crf"]


def test_the_seconds_are_those_of_the_whole_stage(pipeline, monkeypatch):
    real, clock = step.refine_cams, {"now": 0.0}

    def slow(*args, **kwargs):
        clock["now"] += 1000
        return real(*args, **kwargs)

    monkeypatch.setattr(step, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(step, "refine_cams", slow)
    assert [stage.summary.seconds for stage in pipeline()] == [0, 0, 1000, 0]


def test_a_second_run_keeps_everything(pipeline):
    pipeline()
    before = {path: path.stat().st_mtime_ns for path in pipeline.out.rglob("*.png")}
    weights = {path: path.read_bytes() for path in pipeline.out.rglob("*.safetensors")}
    assert counts(pipeline()) == {"prompts": (0, 3), **dict.fromkeys(STAGES[1:], (0, MASKS))}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path: path.read_bytes() for path in weights} == weights
    assert "refining" not in pipeline.parts[10:]


def test_overwrite_does_everything_again(pipeline):
    pipeline()
    assert counts(pipeline(overwrite=True)) == {"prompts": (3, 0), **dict.fromkeys(STAGES[1:], (MASKS, 0))}


@pytest.mark.parametrize("stage", ["make_cams", "refine_cams", "apply_crf"])
def test_an_interrupted_run_goes_on_with_the_stage_that_it_was_in(pipeline, monkeypatch, stage):
    def interrupt(*args, **kwargs):
        raise InterruptedRun

    with monkeypatch.context() as patched:
        patched.setattr(pipeline_crf if stage == "apply_crf" else step, stage, interrupt)
        with pytest.raises(InterruptedRun):
            pipeline()
    done = STAGES[: 1 + ["make_cams", "refine_cams", "apply_crf"].index(stage)]
    again = counts(pipeline())
    assert [name for name, (written, _) in again.items() if not written] == done


@pytest.fixture
def ahead(monkeypatch):
    """As where a GPU computes; the passes, by their ids."""
    passes, real = [], pipeline_crf.apply_crf

    def crf(*args, only=None, **options):
        passes.append(only if only is None else sorted(only))
        return real(*args, only=only, **options)

    monkeypatch.setattr(pipeline_crf, "_cores_are_free", lambda run: True)
    monkeypatch.setattr(pipeline_crf, "apply_crf", crf)
    monkeypatch.setattr(crf_ahead, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(crf_ahead, "LEAST_ITEMS", 1)
    return passes


def linger(monkeypatch):
    """Refinement gives the CRF time to catch up before it ends."""
    real = step.refine_cams

    def slow(*args, **kwargs):
        summary = real(*args, **kwargs)
        time.sleep(1)
        return summary

    monkeypatch.setattr(step, "refine_cams", slow)


def test_the_crf_runs_ahead_where_cores_are_free(pipeline, ahead, monkeypatch, tmp_path):
    linger(monkeypatch)
    stages = pipeline()
    assert counts(stages) == {"prompts": (3, 0), **dict.fromkeys(STAGES[1:], (MASKS, 0))}
    assert sorted(item for each in ahead[:-1] for item in each) == sorted(PHOTOS)
    assert ahead[-1] is None
    early = {path.stem: path.read_bytes() for path in (pipeline.out / "crf").rglob("*.png")}
    assert len(early) == MASKS
    monkeypatch.setattr(pipeline_crf, "_cores_are_free", lambda run: False)
    pipeline(out=tmp_path / "serial")
    assert {path.stem: path.read_bytes() for path in (tmp_path / "serial/crf").rglob("*.png")} == early
    assert read_run_record(pipeline.out / "crf") == {
        **read_run_record(tmp_path / "serial/crf"),
        "source": str(pipeline.out / "refined"),
    }
    del ahead[:]
    assert counts(pipeline())["crf"] == (0, MASKS)


def test_overwrite_does_everything_again_ahead_too(pipeline, ahead, monkeypatch):
    pipeline()
    linger(monkeypatch)
    del ahead[:]
    before = {path: path.stat().st_mtime_ns for path in (pipeline.out / "crf").rglob("*.png")}
    assert counts(pipeline(overwrite=True))["crf"] == (MASKS, 0)
    assert len(ahead) > 1
    assert all(path.stat().st_mtime_ns > then for path, then in before.items())


def test_what_fails_ahead_is_said_by_the_last_pass(pipeline, ahead, monkeypatch):
    linger(monkeypatch)
    pipeline(settings=replace(SETTINGS, crf=replace(SETTINGS.crf, iterations=2)))
    (pipeline.out / "crf/.semples/manifest.jsonl").write_text("no line\n")
    other = replace(SETTINGS, generator_cams=replace(CAMS, affinity_layers="none", size=48))
    with pytest.raises(ArtifactError, match=r"manifest\.jsonl:1: damaged line"):
        pipeline(other)


def test_the_cores_are_not_free_on_a_cpu(pipeline, monkeypatch):
    monkeypatch.setattr(pipeline_crf, "CrfAhead", None)
    assert counts(pipeline())["crf"] == (MASKS, 0)


def test_another_crf_makes_the_crf_alone_again(pipeline):
    pipeline()
    other = replace(SETTINGS, crf=replace(SETTINGS.crf, iterations=2))
    again = counts(pipeline(other))
    assert again == {"prompts": (0, 3), "seeds": (0, MASKS), "refined": (0, MASKS), "crf": (MASKS, 0)}


def test_other_prompts_make_all_that_follows_from_them_again(pipeline):
    pipeline()
    other = replace(SETTINGS, prompts=replace(SETTINGS.prompts, seed=1))
    assert counts(pipeline(other))["prompts"] == (3, 0)
    assert any("seeds: made again" in note for note in pipeline.notes)
    assert any("refined: made again" in note for note in pipeline.notes)


def test_pictures_only_on_request(pipeline):
    pipeline()
    assert not list(pipeline.out.rglob("overlays"))
    pipeline(overlays=True)
    for folder in ("seeds", "refined", "crf"):
        assert {path.stem for path in (pipeline.out / folder / "overlays").rglob("*.png")} == {
            "1",
            "2",
            "b",
            "empty",
            "one",
        }


def test_a_class_without_images_is_said_and_the_others_are_done(pipeline):
    classes = ClassSet((*CLASS_SET.names, "zebra"))
    stages = pipeline(class_set=classes)
    assert stages[0].summary.skipped == (("zebra", "too few images to learn its prompt from"),)
    assert counts(stages) == {"prompts": (3, 0), **dict.fromkeys(STAGES[1:], (MASKS, 0))}
    assert any("zebra" in note for note in pipeline.notes)
    assert counts(pipeline(class_set=classes))["prompts"] == (0, 3)


def test_a_broken_image_fails_in_every_stage_and_the_rest_is_done(pipeline):
    (pipeline.photos / "one.jpg").write_bytes(b"")
    prompts, seeds, refined, crf = pipeline()
    assert [stage.summary.written for stage in (seeds, refined, crf)] == [MASKS - 1] * 3
    assert [item for stage in (seeds, refined) for item, _ in stage.summary.failed] == ["one", "one"]
    assert [item for item, _ in crf.summary.skipped] == ["one"]
    assert any("one" in note for note in pipeline.notes)
    assert prompts.summary.failed == ()


def test_only_the_given_samples_are_done_and_the_skipped_are_listed(pipeline):
    stages = pipeline(samples=samples_of(pipeline.photos)[:2], skipped=[("b", "no label names it")])
    assert set(find_masks(pipeline.out / "crf")) == {"a/1", "a/2"}
    assert [stage.summary.skipped for stage in stages[1:]] == [(("b", "no label names it"),)] * 2 + [()]


def is_untouched(out):
    return not list(out.rglob("*.safetensors"))


@pytest.mark.parametrize("folder", ["matched", "seeds", "refined", "crf"])
def test_a_folder_of_another_command_is_refused_before_training(pipeline, clip_engine, folder):
    other = pipeline.out / folder
    make_cams(samples_of(pipeline.photos), CLASS_SET, clip_engine, other, CAMS, command="other", progress=silent)
    with pytest.raises(SettingsError, match="made by `semples other`"):
        pipeline()
    assert is_untouched(pipeline.out)


def test_other_classes_are_refused_before_training(pipeline):
    pipeline()
    before = (pipeline.out / "generator_initial.safetensors").read_bytes()
    with pytest.raises(SettingsError, match="the class list changed"):
        pipeline(class_set=ClassSet(("boat", "cat", "hen")))
    assert (pipeline.out / "generator_initial.safetensors").read_bytes() == before


@pytest.mark.parametrize("out", [".", "a"])
def test_the_folder_of_the_images_is_refused(pipeline, out):
    inputs = (pipeline.photos, pipeline.photos / "a")
    with pytest.raises(SettingsError, match="choose another folder"):
        pipeline(out=pipeline.photos / out, inputs=inputs)
    assert is_untouched(pipeline.photos)


def test_images_in_a_folder_that_a_stage_writes_are_refused(pipeline):
    seeds = pipeline.out / "seeds"
    seeds.parent.mkdir()
    pipeline.photos.rename(seeds)
    with pytest.raises(SettingsError, match="choose another folder"):
        pipeline(samples=samples_of(seeds), inputs=(seeds,))
    assert is_untouched(pipeline.out)


def test_a_machine_without_crf_is_told_before_training(pipeline, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(EngineError, match="take --crf-backend sparse"):
        pipeline(replace(SETTINGS, crf=replace(SETTINGS.crf, backend="pydensecrf2")))
    assert not pipeline.out.exists()


def test_prompts_that_are_too_long_are_refused_before_training(pipeline):
    with pytest.raises(SettingsError, match="prompt"):
        pipeline(replace(SETTINGS, prompts=replace(SETTINGS.prompts, prompt_length=30)))
    assert is_untouched(pipeline.out)


def test_two_runs_do_not_write_into_one_folder(pipeline):
    with lock_run(RunFolder(pipeline.out).lock), pytest.raises(ArtifactError, match="another semples run"):
        pipeline()
    assert is_untouched(pipeline.out)


def test_prompts_that_a_run_of_their_own_learns_are_left_to_it(pipeline):
    message = r"prompts.safetensors: another semples run \(process \d+\) is writing here"
    with lock_file(pipeline.out / "prompts.safetensors"), pytest.raises(ArtifactError, match=message):
        pipeline()
    assert is_untouched(pipeline.out)
    pipeline()
    assert not list(pipeline.out.rglob("*.lock"))
