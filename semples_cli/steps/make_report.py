"""The step behind `semples report`: what a run did, and what it is worth, on one HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.report_html import DEFAULT_GALLERY
from semples_cli.artifacts.report_html.render import write_report_page
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.steps.cam_reader import CamForm
from semples_cli.steps.cam_source import CamSource, open_cams
from semples_cli.steps.ground_truth import Note, find_targets
from semples_cli.steps.progress import Begin, tqdm_progress
from semples_cli.steps.report_document import report_document
from semples_cli.steps.report_gallery import Gallery, find_pictures, make_gallery
from semples_cli.steps.report_prompts import prompts_as_dict
from semples_cli.steps.report_stages import ReportStage, cut_stage, find_stages, measure, open_stage
from semples_cli.types import ClassSet, Report

PAGE_NAME = "report.html"
PROMPTS_NAME = "prompts.safetensors"


@dataclass(frozen=True)
class MadeReport:
    """A page and what it says.

    Attributes:
        path: The page.
        document: What it is drawn from, as JSON values, without the pictures.
        num_missing: Ground truths that have no mask.
    """

    path: Path
    document: Mapping[str, Any]
    num_missing: int


def make_report(
    run: Path,
    out: Path | None = None,
    class_set: ClassSet | None = None,
    *,
    ground_truth: Path | None = None,
    split_list: Path | None = None,
    images: Path | None = None,
    gallery: int = DEFAULT_GALLERY,
    described: Sequence[Mapping[str, Any]] | None = None,
    begin: Begin = tqdm_progress,
    note: Note | None = None,
) -> MadeReport:
    """Write the page of a run folder, of the folder of a whole pipeline, or of any folder of masks.

    Args:
        run: The folder.
        out: The page to write; None: `report.html` in the folder.
        class_set: The classes, where no run says them.
        ground_truth: A folder of PNGs with the same ids, or a VOC devkit. Without it, none is looked for.
        split_list: Text file whose lines begin with an id: the ground truth of these alone is counted.
        images: Folder of the images; None: where the runs found them.
        gallery: How many images to show: the worst, or without ground truth those of the least confidence.
        described: What the prompts are near to: the `prompts` of `descriptions_as_dict`.
        begin: Called with the name of each part; returns its progress callback.
        note: Called with a sentence about what is not as one might expect.

    Returns:
        The page, and the document that it is drawn from.

    Raises:
        ArtifactError: There is neither a run nor a mask, or a file of it is damaged.
        DataError: Ground truth does not go with the masks, or cannot be read; `images` is no folder of images.
        SettingsError: The classes are not known, or are not the same in all stages.
    """
    note = note or _ignore
    stages = find_stages(run, class_set)
    if ground_truth is not None:
        stages = tuple(measure(stage, ground_truth, split_list, begin, note) for stage in stages)
    prompts = run / PROMPTS_NAME
    facts = prompts_as_dict(prompts, described) if prompts.is_file() else None
    target = run / PAGE_NAME if out is None else out
    return _write(target, _title(run), stages, facts, ground_truth, images, gallery, begin, note)


def make_evaluation_page(
    folder: Path,
    out: Path,
    report: Report,
    ground_truth: Path,
    *,
    image_scores: Mapping[str, float] | None = None,
    cams_form: CamForm | None = None,
    split_list: Path | None = None,
    images: Path | None = None,
    gallery: int = DEFAULT_GALLERY,
    begin: Begin = tqdm_progress,
    note: Note | None = None,
) -> MadeReport:
    """Write the page of what `evaluate_masks` or `evaluate_cams` found.

    Args:
        folder: The masks, or the CAMs.
        out: The page to write.
        report: What was found.
        ground_truth: What it was found by.
        image_scores: Score of each image, see `score_images`; None: it is counted here, as it always is for CAMs.
        cams_form: That of the CAMs; None: masks were evaluated.
        split_list: As it was evaluated.
        images: As in `make_report`.
        gallery: As in `make_report`.
        begin: As in `make_report`.
        note: As in `make_report`.

    Raises:
        SemplesError: As `make_report`.
    """
    note = note or _ignore
    root = folder.parent.parent if folder.parts[-2:] == (".semples", "cams") else folder
    stage = open_stage(root, ClassSet(report.class_names[1:]))
    if cams_form is not None:
        stage = cut_stage(stage, cams_form, report, ground_truth, split_list, begin("images"))
    else:
        counted = {} if image_scores is None else image_scores
        masks = {sample_id: path for sample_id, path in stage.masks.items() if sample_id in counted}
        stage = replace(stage, report=report, image_scores=counted, masks=masks)
    return _write(out, _title(root), (stage,), None, ground_truth, images, gallery, begin, note)


def _write(
    out: Path,
    title: str,
    stages: Sequence[ReportStage],
    prompts: Mapping[str, Any] | None,
    ground_truth: Path | None,
    images: Path | None,
    most: int,
    begin: Begin,
    note: Note,
) -> MadeReport:
    *earlier, last = stages
    gallery = Gallery(
        stage=last,
        earlier=earlier,
        cams=_cams_behind(stages),
        images=find_pictures(stages, images, _devkit_images(ground_truth), note) if most else {},
        targets=find_targets(ground_truth) if ground_truth is not None else {},
    )
    facts, pictures = make_gallery(gallery, most, begin("thumbnails"))
    without = sum(picture["image"] is None for picture in pictures)
    if without:
        note(f"{without} of {len(pictures)} images are not to be had and are left out of the page; see --images")
    document = report_document(title, stages, prompts, facts)
    with lock_file(out):
        write_report_page(out, document, pictures)
    missing = 0 if last.report is None else len(last.report.missing)
    return MadeReport(out, document, missing)


def _cams_behind(stages: Sequence[ReportStage]) -> CamSource | None:
    """The CAMs that the last masks come from: its own, those it refined, or those of the stage before."""
    last = stages[-1]
    if last.cams is not None:
        return last.cams
    source = last.record.get("source")
    if isinstance(source, str) and RunFolder(Path(source)).cams.is_dir():
        return open_cams(Path(source), last.class_set)
    return next((stage.cams for stage in reversed(stages) if stage.cams is not None), None)


def _devkit_images(ground_truth: Path | None) -> Path | None:
    folder = None if ground_truth is None else ground_truth / "JPEGImages"
    return folder if folder is not None and folder.is_dir() else None


def _title(folder: Path) -> str:
    return folder.resolve().name or str(folder)


def _ignore(sentence: str) -> None:
    del sentence
