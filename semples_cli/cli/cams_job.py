"""What `semples cams` has to do, as one thing that can be done here, or sent to another process."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from semples_cli.cli.console import say
from semples_cli.cli.learned import LearnedFile
from semples_cli.cli.loading import load_engine
from semples_cli.config import CamSettings, EngineSettings
from semples_cli.types import Progress, PromptSet, RunSummary, Sample, Shard

if TYPE_CHECKING:
    from semples_cli.data.dataset import Dataset
    from semples_cli.engine.cam_maker import CamMaker
    from semples_cli.engine.clip import ClipEngine
    from semples_cli.steps.cam_record import Note
    from semples_cli.steps.choose_background import BackgroundRule

NO_LABEL = "no label names it"


@dataclass(frozen=True)
class CamsJob:
    """What the command line asks for, checked as far as that goes without the model.

    Attributes:
        dataset: What was recognised.
        samples: Its images, as many as --limit leaves.
        shard: The part of them that is to be done; None: all, or what `make` is told.
        learned: Prompts or a mask generator; None: seeds with background words.
        engine: The CLIP to load.
        settings: How CAMs are made.
        background: The rule that chooses the background score; None: that of the settings.
        out: Run folder to write.
        inputs: Images and folders as they were given.
        overwrite: Do everything again.
        overlays: Also write pictures.
        mask_mode: 'palette' or 'L'.
        max_pixels: Larger images are refused.
    """

    dataset: "Dataset"
    samples: tuple[Sample, ...]
    shard: Shard | None
    learned: LearnedFile | None
    engine: EngineSettings
    settings: CamSettings
    background: "BackgroundRule | None"
    out: Path
    inputs: tuple[Path, ...]
    overwrite: bool
    overlays: bool
    mask_mode: str
    max_pixels: int

    def load(self, note: "Note" = say) -> "tuple[ClipEngine, CamMaker]":
        """The CLIP, and what makes the CAMs.

        Args:
            note: Called with what there is to say.

        Raises:
            SemplesError: They cannot be loaded, or do not go together.
        """
        learned = self.learned
        engine = load_engine(self.engine, note) if learned is None else learned.load_engine(self.engine, note)
        from semples_cli.steps.choose_maker import choose_maker

        prompts = learned.content if learned is not None and isinstance(learned.content, PromptSet) else None
        weights = learned.path if learned is not None and prompts is None else None
        maker = choose_maker(
            engine, self.dataset.class_set, self.settings, prompts=prompts, generator_weights=weights, note=note
        )
        return engine, maker

    def make(
        self,
        shard: Shard | None,
        progress: Progress,
        note: "Note",
        loaded: "tuple[ClipEngine, CamMaker] | None" = None,
    ) -> RunSummary:
        """Make the masks; may run in another process.

        Args:
            shard: The part that is to be done; None: the one of the command line.
            progress: Called as (done, total).
            note: Called with what there is to say.
            loaded: From `load`; None: done here.

        Raises:
            SemplesError: Nothing can be done.
        """
        engine, maker = loaded or self.load(note)
        from semples_cli.steps.make_cams import make_cams

        return make_cams(
            self.samples,
            self.dataset.class_set,
            engine,
            self.out,
            maker.settings,
            generator=maker,
            background=self.background,
            inputs=self.inputs,
            skipped=[(sample_id, NO_LABEL) for sample_id in self.dataset.unlabelled],
            shard=shard or self.shard,
            overwrite=self.overwrite,
            overlays=self.overlays,
            mask_mode=self.mask_mode,
            max_pixels=self.max_pixels,
            progress=progress,
            note=note,
        )
