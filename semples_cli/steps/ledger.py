"""The books of a run over many items: counts, manifest and progress bar, moved on together."""

from dataclasses import dataclass, field
from time import perf_counter

from semples_cli.artifacts.atomic import remove_file
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.steps.interruption import InterruptedRun, Interruption
from semples_cli.types import Progress, RunSummary


@dataclass
class Ledger:
    """Every item ends in exactly one of `keep`, `finish`, `skip` and `fail`.

    Attributes:
        run: The run folder.
        manifest: Its manifest, open.
        total: Items in all.
        progress: Called as (done, total) after each.
        started: When the run began, by `perf_counter`.
        written: Items written by this run.
        resumed: Items kept from an earlier one.
        skipped: (id, reason).
        failed: (id, reason).
    """

    run: RunFolder
    manifest: Manifest
    total: int
    progress: Progress
    started: float = field(default_factory=perf_counter)
    written: int = 0
    resumed: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def keep(self) -> None:
        """An earlier run did this item."""
        self.resumed += 1
        self._move_on()

    def finish(self, entry: ManifestEntry) -> None:
        """This run wrote this item."""
        self.written += 1
        self.manifest.append(entry)
        self._move_on()

    def skip(self, sample_id: str, reason: str) -> None:
        """This item is left out on purpose."""
        self.skipped.append((sample_id, reason))
        self._leave_out(ManifestEntry(sample_id, "skipped", reason))

    def fail(self, sample_id: str, reason: str) -> None:
        """This item could not be done."""
        self.failed.append((sample_id, reason))
        self._leave_out(ManifestEntry(sample_id, "failed", reason))

    def end(self, interruption: Interruption) -> RunSummary:
        """How the run ended, when it is over.

        Raises:
            InterruptedRun: It is over because Ctrl-C was pressed.
        """
        if interruption.is_asked:
            raise InterruptedRun(self.summary(), self.total - self._done)
        return self.summary()

    def summary(self) -> RunSummary:
        """How the run ended, lists in order of the ids."""
        seconds = perf_counter() - self.started
        return RunSummary(self.written, self.resumed, tuple(sorted(self.skipped)), tuple(sorted(self.failed)), seconds)

    def _leave_out(self, entry: ManifestEntry) -> None:
        # A mask that an earlier run wrote under other settings must not pass for one of this run.
        remove_file(self.run.mask_path(entry.id))
        remove_file(self.run.overlay_path(entry.id))
        if self.manifest.entries.get(entry.id) != entry:  # said once, however often the run is resumed
            self.manifest.append(entry)
        self._move_on()

    def _move_on(self) -> None:
        self.progress(self._done, self.total)

    @property
    def _done(self) -> int:
        return self.written + self.resumed + len(self.skipped) + len(self.failed)
