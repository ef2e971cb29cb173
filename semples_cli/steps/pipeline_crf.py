"""What the stages of `run_pipeline` are given, and its last one, the CRF, which begins early where cores are free."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.data.image_folder import ImageFile
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import Ranks
from semples_cli.steps.apply_crf import apply_crf
from semples_cli.steps.cam_record import Note
from semples_cli.steps.choose_background import BackgroundRule
from semples_cli.steps.crf_ahead import CrfAhead
from semples_cli.steps.pipeline_settings import PipelineSettings
from semples_cli.steps.process_pool import available_cores
from semples_cli.steps.progress import Begin
from semples_cli.types import ClassSet, Progress, PromptSet, RunSummary, Sample

PROMPTS_NAME = "prompts.safetensors"
SEEDS, REFINED, CRF = "seeds", "refined", "crf"


@dataclass(frozen=True)
class PipelineRun:
    """What every stage is given; see `run_pipeline`."""

    samples: Sequence[Sample]
    class_set: ClassSet
    engine: ClipEngine
    out: Path
    settings: PipelineSettings
    init: Path | None
    background: BackgroundRule | None
    inputs: Sequence[Path]
    skipped: Sequence[tuple[str, str]]
    workers: int | None
    overwrite: bool
    overlays: bool
    max_pixels: int
    begin: Begin
    note: Note | None
    ranks: Ranks

    @property
    def prompts(self) -> PromptSet:
        """What the first stage has learned."""
        return read_prompts(self.out / PROMPTS_NAME)


def crf_ahead(run: PipelineRun) -> AbstractContextManager[CrfAhead | None]:
    """Where a GPU computes, the cores refine its masks meanwhile; otherwise they have enough to do.

    Args:
        run: The pipeline, about to refine.
    """
    if not _cores_are_free(run):
        return nullcontext()
    workers, began = max(1, (run.workers or available_cores()) - 1), list[bool]()

    def refine(ids: AbstractSet[str], progress: Progress) -> None:
        overwrite = run.overwrite and not began
        began.append(True)
        _apply(run, progress, workers=workers, only=ids, overwrite=overwrite)

    return CrfAhead(RunFolder(run.out / REFINED), RunFolder(run.out / CRF), refine, overwrite=run.overwrite)


def _cores_are_free(run: PipelineRun) -> bool:
    return run.engine.device.type != "cpu" and run.ranks.size == 1


def finish_crf(run: PipelineRun, ahead: CrfAhead | None) -> RunSummary:
    """All that is left to the last stage; what was done ahead counts as written.

    Args:
        run: The pipeline.
        ahead: From `crf_ahead`, ended.
    """
    overwrite = run.overwrite and not (ahead and ahead.began)
    summary = _apply(run, run.begin(CRF), workers=run.workers, overwrite=overwrite)
    done = min(ahead.written, summary.resumed) if ahead else 0
    return replace(summary, written=summary.written + done, resumed=summary.resumed - done)


def _apply(
    run: PipelineRun, progress: Progress, *, workers: int | None, overwrite: bool, only: AbstractSet[str] | None = None
) -> RunSummary:
    return apply_crf(
        run.out / REFINED,
        [ImageFile(sample.id, sample.image_path) for sample in run.samples],
        run.out / CRF,
        run.settings.crf,
        workers=workers,
        only=only,
        overwrite=overwrite,
        overlay=run.overlays,
        progress=progress,
    )
