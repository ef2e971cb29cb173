"""Chooses the background score of a run before its CAMs are made, by the CAMs of some of its images."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.data.images import read_image
from semples_cli.engine.cam_maker import CamMaker
from semples_cli.errors import SemplesError
from semples_cli.steps.background_choice import BackgroundChoice, Looked, choose_score, find_calibration
from semples_cli.types import ClassSet, Progress, Sample

# Raise it whenever the same maps would give another score.
RULE_VERSION = 1
# Images that border contrast looks at, spread over the whole list.
MOST_IMAGES = 200


@dataclass(frozen=True)
class BackgroundRule:
    """How to choose the background score.

    Attributes:
        calibrate: Folder of ground-truth PNGs of some of the images, to choose the score by; None: border contrast,
            which needs none.
    """

    calibrate: Path | None = None


def spread_out(samples: Sequence[Sample], most: int = MOST_IMAGES) -> list[Sample]:
    """At most so many of the images that have a class, from all over the list."""
    labelled = [sample for sample in samples if sample.class_indices]
    count = min(most, len(labelled))
    return [labelled[n * len(labelled) // count] for n in range(count)]


@dataclass(frozen=True)
class ScoreChooser:
    """Chooses the background score of a run whose CAMs are yet to be made.

    Attributes:
        rule: By what.
        maker: Makes the CAMs.
        class_set: The classes.
        samples: All images of the run.
        max_pixels: Larger images are refused.
    """

    rule: BackgroundRule
    maker: CamMaker
    class_set: ClassSet
    samples: Sequence[Sample]
    max_pixels: int

    def chosen_samples(self) -> tuple[list[Sample], dict[str, Path] | None]:
        """The images that decide, and their ground truth.

        Raises:
            DataError: There is no ground truth of them where there should be.
        """
        labelled = [sample for sample in self.samples if sample.class_indices]
        if self.rule.calibrate is None:
            return spread_out(self.samples), None
        targets = find_calibration(self.rule.calibrate, [sample.id for sample in labelled])
        return [sample for sample in labelled if sample.id in targets], targets

    def fingerprint(self, facts: Mapping[str, Any]) -> str:
        """Differs where another choice may come out: other images, classes, settings, weights or ground truth.

        Args:
            facts: All else that shapes the CAMs, as JSON values.
        """
        samples, targets = self.chosen_samples()
        said: dict[str, Any] = {name: value for name, value in facts.items() if name != "background_score"}
        said |= {"version": RULE_VERSION, "classes": self.class_set.names, "prompt_names": self.class_set.prompt_names}
        said["images"] = [(sample.id, sample.class_indices) for sample in samples]
        if targets is not None:
            said["targets"] = [hashlib.sha256(targets[each.id].read_bytes()).hexdigest() for each in samples]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def choose(self, progress: Progress) -> BackgroundChoice:
        """Make the CAMs of the deciding images, and choose.

        Raises:
            SemplesError: Ground truth cannot be used, or not even one image fits into memory.
        """
        samples, targets = self.chosen_samples()
        return choose_score(self._look(samples, progress), len(self.class_set) + 1, targets)

    def _look(self, samples: Sequence[Sample], progress: Progress) -> Iterator[Looked]:
        size = self.maker.batch_size
        for start in range(0, len(samples), size):
            batch = list(self._read(samples[start : start + size]))
            made = self.maker.maps(
                [image for _, image in batch], [sample.class_indices for sample, _ in batch], counted=False
            )
            for (sample, image), scores in zip(batch, made, strict=True):
                yield Looked(sample.id, image, scores, np.array(sample.class_indices, np.int64))
            progress(min(start + size, len(samples)), len(samples))

    def _read(self, samples: Sequence[Sample]) -> Iterator[tuple[Sample, npt.NDArray[np.uint8]]]:
        """Images that cannot be read decide nothing; the run itself lists them."""
        for sample in samples:
            try:
                yield sample, read_image(sample.image_path, self.max_pixels)
            except (SemplesError, OSError, MemoryError):
                continue
