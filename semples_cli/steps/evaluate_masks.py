"""The step behind `semples evaluate`: masks or CAMs against ground truth, counted over the whole dataset."""

from pathlib import Path

from semples_cli.artifacts.count_files import PixelCounts
from semples_cli.artifacts.mask_png import find_masks
from semples_cli.artifacts.run_folder import HIDDEN, read_class_set
from semples_cli.errors import SettingsError
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.metrics import dataset_scores
from semples_cli.steps.cam_reader import ANY_FORM, PNG, CamForm
from semples_cli.steps.cam_source import CamSource, open_cams
from semples_cli.steps.count_pixels import Comparison
from semples_cli.steps.count_pixels import Observe as Observe  # part of the signatures here
from semples_cli.steps.ground_truth import VOC_FOLDERS, Note, match_ground_truth
from semples_cli.types import BACKGROUND, ClassSet, IndexArray, Progress, Report


def evaluate_masks(
    masks: Path,
    ground_truth: Path,
    class_set: ClassSet | None = None,
    *,
    split_list: Path | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
    observe: Observe | None = None,
    workers: int | None = None,
) -> Report:
    """Score mask PNGs against ground truth of the same ids.

    Args:
        masks: A run folder, or any folder of palette or 8-bit grey PNGs.
        ground_truth: A folder of such PNGs with the same ids, or a VOC devkit (SegmentationClassAug, else
            SegmentationClass).
        class_set: The classes; by default those of the run that wrote the masks.
        split_list: Text file whose lines begin with an id: only these are counted.
        progress: Called as (done, total); a tqdm bar by default.
        note: Called with a sentence on masks that have no ground truth.
        observe: Called with the counts of each image.
        workers: Threads; None: one for each core, at most 4; 1 stays in this thread.

    Returns:
        The report; `missing` lists the ids that have ground truth but no mask and are left out of the counts.

    Raises:
        DataError: Ground truth is missing, damaged, of another size, or holds values that are no class.
        ArtifactError: A mask is damaged or not of class indices.
        SettingsError: The masks' folder does not say its classes and none are given.
    """
    comparison = compare_masks(masks, ground_truth, class_set, split_list=split_list, note=note)
    return report_of(comparison.count(progress=progress, workers=workers, observe=observe))


def evaluate_cams(
    cams: Path,
    ground_truth: Path,
    class_set: ClassSet | None = None,
    *,
    cams_form: CamForm = ANY_FORM,
    background_score: float | None = None,
    split_list: Path | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
    observe: Observe | None = None,
    workers: int | None = None,
) -> Report:
    """Score CAMs at every background score from 0.00 to 1.00 in one pass over the pixels.

    Args:
        cams: A run folder, its folder of CAMs, or a folder of CAMs of another project.
        ground_truth: As in `evaluate_masks`.
        class_set: The classes; by default those of the run that wrote the CAMs.
        cams_form: What is known about CAMs of another project: format, numbering, maps.
        background_score: The score to report at, any number in [0, 1]; by default the one that is best by this ground
            truth, the true maximum over the whole curve.
        split_list: Text file whose lines begin with an id: only these are counted.
        progress: Called as (done, total); a tqdm bar by default.
        note: Called with a sentence on CAMs that have no ground truth, and on those of another project.
        observe: Called with the counts of each image at `background_score`, and not at all without one.
        workers: As in `evaluate_masks`.

    Returns:
        The report at that background score, with the curve.

    Raises:
        DataError: Ground truth is missing, damaged, of another size, or holds values that are no class.
        ArtifactError: A CAM is damaged.
        SettingsError: A background score outside [0, 1], no classes known, or `cams_form` does not fit.
    """
    comparison = compare_cams(
        cams,
        ground_truth,
        class_set,
        cams_form=cams_form,
        background_score=background_score,
        split_list=split_list,
        note=note,
    )
    return report_of(comparison.count(progress=progress, workers=workers, observe=observe))


def compare_masks(
    masks: Path,
    ground_truth: Path,
    class_set: ClassSet | None = None,
    *,
    split_list: Path | None = None,
    note: Note | None = None,
) -> Comparison:
    """What `evaluate_masks` compares; arguments and errors as there."""
    matched = match_ground_truth(find_masks(masks), "mask", ground_truth, split_list, note)
    return Comparison(_class_names(masks, class_set), matched)


def compare_cams(
    cams: Path,
    ground_truth: Path,
    class_set: ClassSet | None = None,
    *,
    cams_form: CamForm = ANY_FORM,
    background_score: float | None = None,
    split_list: Path | None = None,
    note: Note | None = None,
) -> Comparison:
    """What `evaluate_cams` compares; arguments and errors as there."""
    if background_score is not None and not 0 <= background_score <= 1:
        msg = f"background score {background_score}: it lies in [0, 1]"
        raise SettingsError(msg)
    source = _open(cams, ground_truth, class_set, cams_form, note)
    matched = match_ground_truth(source.paths, "CAM", ground_truth, split_list, note)
    return Comparison(_class_names(cams, class_set), matched, source, background_score, note)


def report_of(counts: PixelCounts) -> Report:
    """The second phase: what the counts say, be they of one process or added up from shards."""
    if not len(counts.thresholds):
        return _report(counts, counts.confusion)
    curve = BackgroundCurve(len(counts.class_names), counts.thresholds)
    curve.counts += counts.curve
    points = tuple(zip(curve.thresholds.tolist(), curve.miou().tolist(), strict=True))
    if counts.background_score is not None:
        return _report(counts, counts.confusion, counts.background_score, points)
    best = curve.best()
    return _report(counts, curve.confusion(best), points[best][0], points)


def _open(cams: Path, ground_truth: Path, class_set: ClassSet | None, form: CamForm, note: Note | None) -> CamSource:
    """The CAMs; those of another project by the ids of the ground truth."""
    source = open_cams(cams, class_set, *form, note=note)
    if source.format == PNG:
        msg = f"{cams}: these are masks, not CAMs; evaluate them without --cams"
        raise SettingsError(msg)
    truth = next((ground_truth / name for name in VOC_FOLDERS if (ground_truth / name).is_dir()), ground_truth)
    return source.named_as(find_masks(truth)) if source.is_foreign and truth.is_dir() else source


def _class_names(folder: Path, class_set: ClassSet | None) -> tuple[str, ...]:
    if class_set is None:
        class_set = read_class_set(folder.parent.parent if folder.parent.name == HIDDEN else folder)
    if class_set is None:
        msg = f"{folder} does not say its classes (it has no {HIDDEN}/run.json): add --classes classes.txt"
        raise SettingsError(msg)
    return (BACKGROUND, *class_set.names)


def _report(
    counts: PixelCounts,
    confusion: IndexArray,
    background_score: float | None = None,
    curve: tuple[tuple[float, float], ...] = (),
) -> Report:
    return Report(
        class_names=counts.class_names,
        **dataset_scores(confusion)._asdict(),
        confusion=confusion,
        num_images=counts.num_images,
        missing=counts.missing,
        background_score=background_score,
        curve=curve,
    )
