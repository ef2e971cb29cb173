"""The ways to count an evaluation: in this process, one shard of it, or all shards on a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semples_cli.cli.backend import Cluster
from semples_cli.cli.console import MOST_LISTED, progress_bar, say
from semples_cli.cli.report import progress_bars
from semples_cli.errors import ArtifactError
from semples_cli.types import Progress, Report, RunSummary, Shard

if TYPE_CHECKING:
    from semples_cli.steps.cam_reader import CamForm
    from semples_cli.steps.cam_record import Note
    from semples_cli.steps.count_pixels import Comparison


@dataclass(frozen=True)
class Page:
    """What report.html is drawn from, beside the report.

    Attributes:
        masks: Masks or CAMs.
        ground_truth: What they are compared with.
        split_list: Ids to which that is limited; None: all.
        images: The images; None: where the run says they are.
        gallery: Most images that the page shows.
        cams_form: How CAMs are read; None: masks are compared.
    """

    masks: Path
    ground_truth: Path
    split_list: Path | None
    images: Path | None
    gallery: int
    cams_form: "CamForm | None"

    def write(self, out: Path, report: Report, image_scores: Mapping[str, float]) -> None:
        """Write report.json, and draw the page beside it, which agrees with it."""
        from semples_cli.artifacts.file_lock import lock_file
        from semples_cli.artifacts.report_files import write_report
        from semples_cli.steps.make_report import PAGE_NAME, make_evaluation_page

        with lock_file(out / "report.json"):
            written = write_report(out, report)
        say(f"report written to {written}")
        with progress_bars() as begin:
            made = make_evaluation_page(
                self.masks,
                out / PAGE_NAME,
                report,
                self.ground_truth,
                image_scores=image_scores,
                cams_form=self.cams_form,
                split_list=self.split_list,
                images=self.images,
                gallery=self.gallery,
                begin=begin,
                note=say,
            )
        say(f"page written to {made.path}")


def evaluate_here(
    comparison: "Comparison", out: Path | None, page: Page, workers: int | None
) -> tuple[Report, dict[str, Any]]:
    """The report and its document, from this process alone."""
    from semples_cli.artifacts.report_files import report_as_dict
    from semples_cli.steps.evaluate_masks import report_of
    from semples_cli.steps.report_stages import score_images

    scores: dict[str, float] = {}
    observe = score_images(scores) if out is not None and comparison.cams is None else None
    with progress_bar("evaluate") as progress:
        report = report_of(comparison.count(progress=progress, workers=workers, observe=observe))
    if out is not None:
        page.write(out, report, scores)
    return report, report_as_dict(report)


def evaluate_shard(
    comparison: "Comparison", shard: Shard, out: Path, page: Page, workers: int | None, *, overwrite: bool
) -> tuple[Report | None, dict[str, Any]]:
    """The same from all shards, if this is the last one to end; else no report, and who is missing."""
    from semples_cli.artifacts.report_files import report_as_dict
    from semples_cli.steps.evaluate_shards import count_shard, shards_report

    with progress_bar("evaluate") as progress:
        counted = count_shard(comparison, shard, out, workers=workers, overwrite=overwrite, progress=progress)
    with shards_report(comparison, shard.count, out) as found:
        if found.report is None:
            missing = [str(each) for each in found.missing_shards]
            shown = ", ".join(missing[:MOST_LISTED]) + (", …" if len(missing) > MOST_LISTED else "")
            say(f"shard {shard}: {counted} images counted; the report is written when these are too: {shown}")
            return None, {"complete": False, "shard": str(shard), "num_images": counted, "missing_shards": missing}
        say(f"shard {shard}: {counted} images counted, and with them all {shard.count} shards")
        page.write(out, found.report, found.image_scores)
        return found.report, {"complete": True, **report_as_dict(found.report)}


def evaluate_on(
    cluster: Cluster, comparison: "Comparison", out: Path, page: Page, *, overwrite: bool
) -> tuple[Report, dict[str, Any]]:
    """The same from all shards on a cluster."""
    from semples_cli.artifacts.report_files import report_as_dict
    from semples_cli.steps.evaluate_shards import shards_report

    work = partial(_count_shard, comparison, out, cluster.cpus, overwrite)
    with progress_bar("evaluate") as progress:
        _, num_shards = cluster.run(work, None, len(comparison.matched.pairs), progress)
    with shards_report(comparison, num_shards, out) as found:
        if found.report is None:
            missing = ", ".join(str(each) for each in found.missing_shards[:MOST_LISTED])
            msg = f"{out}: counts of shards {missing} are gone; nothing else may write there while a run is at work"
            raise ArtifactError(msg)
        page.write(out, found.report, found.image_scores)
        return found.report, report_as_dict(found.report)


def _count_shard(
    comparison: "Comparison", out: Path, workers: int, overwrite: bool, shard: Shard, progress: Progress, note: "Note"
) -> RunSummary:
    """One shard of it, in another process."""
    from semples_cli.steps.evaluate_shards import count_shard

    comparison = replace(comparison, note=note)
    counted = count_shard(comparison, shard, out, workers=workers, overwrite=overwrite, progress=progress)
    return RunSummary(counted, 0, (), (), 0.0)
