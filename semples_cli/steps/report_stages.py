"""The stages of a report: folders of masks, what is recorded of them, and what the ground truth says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from semples_cli.artifacts.manifest_entries import ManifestEntry, read_entries
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.run_folder import HIDDEN, RunFolder, read_class_set, read_run_record
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.functional.image_scores import image_score
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.steps.cam_reader import ANY_FORM, CamForm
from semples_cli.steps.cam_source import CamSource, open_cams
from semples_cli.steps.evaluate_masks import Observe, evaluate_cams, evaluate_masks
from semples_cli.steps.ground_truth import Note, find_targets
from semples_cli.steps.progress import Begin
from semples_cli.types import Cam, ClassSet, IndexArray, MaskArray, Progress, Report

# Stages of `semples run` and `semples demo` in the order in which they run; folders of other names come before them.
ORDER = ("matched", "seeds", "generator", "seeds+prompts", "refined-fitted", "refined", "crf")
DEMO_ORDER = ("seeds", "generator", "matched", "seeds+prompts", "refined", "crf")


@dataclass(frozen=True)
class ReportStage:
    """One folder of masks.

    Attributes:
        name: Name of the folder.
        folder: The folder.
        class_set: The classes.
        record: Its run.json; empty where there is none.
        entries: Its manifest by image id; empty where there is none.
        masks: Mask by image id, or CAM where masks are cut from CAMs.
        cams: The CAMs of this folder, if any.
        background_score: What masks are cut from the CAMs at; None: they are read.
        report: What the ground truth says; None without one.
        curve: (background score, mIoU) of the CAMs by the ground truth.
        image_scores: `image_score` of each image that has ground truth.
    """

    name: str
    folder: Path
    class_set: ClassSet
    record: Mapping[str, Any] = field(default_factory=dict)
    entries: Mapping[str, ManifestEntry] = field(default_factory=dict)
    masks: Mapping[str, Path] = field(default_factory=dict)
    cams: CamSource | None = None
    background_score: float | None = None
    report: Report | None = None
    curve: Sequence[tuple[float, float]] = ()
    image_scores: Mapping[str, float] = field(default_factory=dict)

    def read_values(self, sample_id: str, cam: Cam | None = None) -> MaskArray:
        """The mask of an image, (H, W) uint8.

        Args:
            sample_id: A key of `masks`.
            cam: Its CAM, where the mask is cut from it.

        Raises:
            ArtifactError: It is damaged.
        """
        if self.background_score is None or cam is None:
            return read_mask(self.masks[sample_id])
        return seed_mask(resize_scores(cam.scores, cam.image_size), cam.class_indices, self.background_score)


def find_stages(folder: Path, class_set: ClassSet | None = None) -> tuple[ReportStage, ...]:
    """The stages that lie in a folder, the last one last.

    Args:
        folder: A run folder; or a folder of run folders, as `semples run` writes; or any folder of mask PNGs.
        class_set: The classes, where no run says them.

    Raises:
        ArtifactError: There is neither a run nor a mask, or a record or manifest is damaged.
        SettingsError: The classes are neither recorded nor given, or are recorded as others than given.
    """
    if RunFolder(folder).record.is_file():
        return (_recorded_stage(folder, class_set),)
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    runs = [path for path in inner if RunFolder(path).record.is_file()]
    if runs:
        stages = tuple(_recorded_stage(path, class_set) for path in _in_order(runs))
        _check_classes(stages)
        return stages
    if not folder.is_dir() or not find_masks(folder):
        msg = f"{folder}: neither a run nor masks here; give the --out folder of an earlier command, or mask PNGs"
        raise ArtifactError(msg)
    return (open_stage(folder, class_set),)


def open_stage(folder: Path, class_set: ClassSet | None = None) -> ReportStage:
    """Read what is recorded of a folder of masks, whoever wrote them.

    Args:
        folder: The folder.
        class_set: The classes; None: those of the run that wrote the masks.

    Raises:
        ArtifactError: The record or the manifest is damaged.
        SettingsError: The classes are neither recorded nor given.
    """
    run = RunFolder(folder)
    classes = class_set or read_class_set(folder)
    if classes is None:
        msg = f"{folder} does not say its classes (it has no {HIDDEN}/run.json): add --classes classes.txt"
        raise SettingsError(msg)
    return ReportStage(
        name=folder.resolve().name,
        folder=folder,
        class_set=classes,
        record=read_run_record(folder) or {},
        entries=read_entries(run),
        masks=find_masks(folder),
        cams=open_cams(folder, classes) if _has_cams(run) else None,
    )


def _recorded_stage(folder: Path, class_set: ClassSet | None) -> ReportStage:
    recorded = read_class_set(folder)
    if recorded is not None and class_set is not None and recorded.names != class_set.names:
        msg = f"{folder}: its run.json says other classes than --classes; leave --classes out"
        raise SettingsError(msg)
    return open_stage(folder, recorded or class_set)


def cut_stage(
    stage: ReportStage, form: CamForm, report: Report, ground_truth: Path, split_list: Path | None, progress: Progress
) -> ReportStage:
    """The CAMs of a folder as masks, cut where `report` cuts them: those that have ground truth.

    Args:
        stage: The folder.
        form: What is known about CAMs of another project.
        report: From `evaluate_cams`.
        ground_truth: As in `evaluate_cams`.
        split_list: As in `evaluate_cams`.
        progress: Called as (done, total).
    """
    scores: dict[str, float] = {}
    evaluate_cams(
        stage.folder,
        ground_truth,
        stage.class_set,
        cams_form=form,
        background_score=report.background_score,
        split_list=split_list,
        progress=progress,
        observe=score_images(scores),
    )
    cams = open_cams(stage.folder, stage.class_set, *form).named_as(find_targets(ground_truth))
    return replace(
        stage,
        masks={sample_id: path for sample_id, path in cams.paths.items() if sample_id in scores},
        cams=cams,
        background_score=report.background_score,
        report=report,
        curve=report.curve,
        image_scores=scores,
    )


def measure(stage: ReportStage, ground_truth: Path, split_list: Path | None, begin: Begin, note: Note) -> ReportStage:
    """The stage with what the ground truth says of its masks, and of its CAMs at every background score.

    Raises:
        SemplesError: As `evaluate_masks` and `evaluate_cams`.
    """
    if not stage.masks:
        note(f"{stage.folder}: no mask here, nothing to compare with the ground truth")
        return stage
    scores: dict[str, float] = {}
    given = (stage.folder, ground_truth, stage.class_set)
    progress = begin(f"evaluate {stage.name}")
    report = evaluate_masks(*given, split_list=split_list, progress=progress, note=note, observe=score_images(scores))
    if stage.cams is None:
        return replace(stage, report=report, image_scores=scores)
    progress = begin(f"background scores of {stage.name}")
    curve = evaluate_cams(*given, cams_form=ANY_FORM, split_list=split_list, progress=progress).curve
    return replace(stage, report=report, image_scores=scores, curve=curve)


def score_images(scores: dict[str, float]) -> Observe:
    """Put the `image_score` of each image that is observed into `scores`."""

    def observe(sample_id: str, confusion: IndexArray) -> None:
        scores[sample_id] = image_score(confusion)

    return observe


def _check_classes(stages: Sequence[ReportStage]) -> None:
    first, *others = stages
    for other in others:
        if other.class_set.names != first.class_set.names:
            msg = (
                f"{first.folder} and {other.folder} were made with other class lists, so that their masks do not "
                f"compare: give one of them to semples report"
            )
            raise SettingsError(msg)


def _has_cams(run: RunFolder) -> bool:
    return run.cams.is_dir() and next(run.cams.rglob("*.npz"), None) is not None


def _in_order(runs: Sequence[Path]) -> list[Path]:
    """By the demo's order where its own stages are there, else by that of `semples run`; unknown names first."""
    names = {path.name for path in runs}
    order = DEMO_ORDER if "generator" in names else ORDER
    return sorted(runs, key=lambda path: (order.index(path.name) if path.name in order else -1, path.name))
