"""The first phase of an evaluation: which images are compared, and the pixels of all of them, or of a part, counted."""

import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from semples_cli.artifacts.count_files import PixelCounts
from semples_cli.artifacts.mask_png import read_mask
from semples_cli.data.images import read_image_size
from semples_cli.errors import SettingsError
from semples_cli.functional.background_curve import BackgroundCurve, default_thresholds
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.functional.metrics import confusion_counts
from semples_cli.steps.cam_source import CamSource, Note
from semples_cli.steps.export_folder import fingerprint
from semples_cli.steps.ground_truth import Matched, Pair
from semples_cli.steps.process_pool import JOBS_PER_WORKER, available_cores
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import IndexArray, Progress, Shard

# Raise it whenever the same files would give other counts.
COUNTING_VERSION = 1
# About half of the work holds the interpreter's lock: more threads wait for each other. More processes are --shard.
MOST_THREADS = 4
# Pixels of a CAM that are counted at once: the memory in between is then small enough to be used again, where that of
# whole images goes back to the system each time, at 1600 page faults and 2 of 7 ms an image of 375 × 500.
STRIP = 2**16

# Called as (id, confusion counts) after each image; what a report needs to know of single images.
Observe = Callable[[str, IndexArray], None]


class ImageCounts(NamedTuple):
    """What one image gives.

    Attributes:
        confusion: (C, C + 1) int64; None where a CAM is cut nowhere.
        changes: A sentence on each kind of change to the scores of a CAM of another project.
    """

    confusion: IndexArray | None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What is compared with what, before any pixel is counted.

    Attributes:
        class_names: C names, 'background' first.
        matched: The images.
        cams: Where CAMs come from; None: masks are compared.
        background_score: What CAMs are cut at; None: at the best, or masks are compared.
        note: Called with a sentence on changes to the scores of CAMs.
    """

    class_names: tuple[str, ...]
    matched: Matched
    cams: CamSource | None = None
    background_score: float | None = None
    note: Note | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what is compared and how, in hexadecimal: of the files it knows size and time of change."""
        cams = self.cams
        facts = {
            "version": COUNTING_VERSION,
            "kind": "masks" if cams is None else "cams",
            "form": cams.reader.form if cams is not None and cams.is_foreign else None,
            "class_names": self.class_names,
            "background_score": self.background_score,
            "files": fingerprint((pair.sample_id, pair.path, pair.target_path) for pair in self.matched.pairs),
            "missing": self.matched.missing,
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def part(self, shard: Shard) -> "Comparison":
        """The images of a shard alone; there may be none."""
        return replace(self, matched=self.matched.part(shard))

    def count(
        self, *, progress: Progress | None = None, workers: int | None = None, observe: Observe | None = None
    ) -> PixelCounts:
        """Count the pixels of all images; the same for any number of workers.

        Args:
            progress: Called as (done, total); a tqdm bar by default.
            workers: Threads; None: one for each core, at most 4; 1 stays in this thread.
            observe: Called with the confusion counts of each image, in the order of ids.

        Raises:
            DataError: Ground truth is damaged, of another size, or holds values that are no class.
            ArtifactError: A mask or CAM is damaged.
            SettingsError: Fewer workers than one.
        """
        if workers is not None and workers < 1:
            msg = f"{workers} workers: 1 or more"
            raise SettingsError(msg)
        counter, pairs, said = _Counter(self), self.matched.pairs, set[str]()
        confusion = np.zeros((len(self.class_names), len(self.class_names) + 1), np.int64)
        progress = progress or tqdm_progress("evaluate")
        threads = min(workers or min(available_cores(), MOST_THREADS), max(1, len(pairs)))
        with closing(_in_order(counter.count, pairs, threads)) as results:
            for done, (pair, found) in enumerate(zip(pairs, results, strict=True), start=1):
                self._say(found, pair, said)
                if found.confusion is not None:
                    confusion += found.confusion
                    if observe is not None:
                        observe(pair.sample_id, found.confusion)
                progress(done, len(pairs))
        return PixelCounts(
            class_names=self.class_names,
            confusion=confusion,
            num_images=len(pairs),
            missing=self.matched.missing,
            background_score=self.background_score,
            thresholds=counter.thresholds,
            curve=counter.curve,
        )

    def _say(self, found: ImageCounts, pair: Pair, said: set[str]) -> None:
        for change in found.changes:
            if self.note is not None and self.cams is not None and change not in said:
                said.add(change)
                self.note(f"{self.cams.folder}: {change}, as in {pair.sample_id}")


class _Counter:
    """Counts one image after the other, from any number of threads; each adds to a curve of its own."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._num_classes = len(comparison.class_names)
        self._curves: list[BackgroundCurve] = []
        self._mine = threading.local()

    def count(self, pair: Pair) -> ImageCounts:
        """One image, read and counted."""
        return self._count_mask(pair) if self._comparison.cams is None else self._count_cam(pair, self._comparison.cams)

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """(S,) float64; S = 0 where masks are counted."""
        return np.zeros(0) if self._comparison.cams is None else default_thresholds()

    @property
    def curve(self) -> IndexArray:
        """(C, C, S + 1): the curves of all threads."""
        none = np.zeros((self._num_classes, self._num_classes, len(self.thresholds) + 1), np.int64)
        return sum((curve.counts for curve in self._curves), none)

    def _count_mask(self, pair: Pair) -> ImageCounts:
        predicted = read_mask(pair.path)
        target = pair.read_target(predicted.shape)
        with pair.named_in_errors():
            return ImageCounts(confusion_counts(target, predicted, self._num_classes))

    def _count_cam(self, pair: Pair, cams: CamSource) -> ImageCounts:
        size = read_image_size(pair.target_path) if cams.is_foreign else None
        cam, changes = cams.reader.read(pair.path, pair.sample_id, size)
        target = pair.read_target(cam.image_size)
        scores, cut = resize_scores(cam.scores, cam.image_size), self._comparison.background_score
        with pair.named_in_errors():
            rows, curve = max(1, STRIP // target.shape[1]), self._my_curve()
            for top in range(0, len(target), rows):
                curve.update(target[top : top + rows], scores[:, top : top + rows], cam.class_indices)
            if cut is None:
                return ImageCounts(None, changes)
            predicted = seed_mask(scores, cam.class_indices, cut)
            return ImageCounts(confusion_counts(target, predicted, self._num_classes), changes)

    def _my_curve(self) -> BackgroundCurve:
        if not hasattr(self._mine, "curve"):
            self._mine.curve = BackgroundCurve(self._num_classes)
            self._curves.append(self._mine.curve)
        curve: BackgroundCurve = self._mine.curve
        return curve


def _in_order(
    task: Callable[[Pair], ImageCounts], pairs: Sequence[Pair], threads: int
) -> Generator[ImageCounts, None, None]:
    """The results in the order of the pairs, so that messages are too; few are held, and an error ends it."""
    if threads == 1:
        yield from map(task, pairs)
        return
    waiting: deque[Future[ImageCounts]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for pair in pairs:
            waiting.append(pool.submit(task, pair))
            if len(waiting) == threads * JOBS_PER_WORKER:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
