"""What `export_masks` writes: masks with their images, read and checked one by one, and counted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from semples_cli.artifacts.export.protocol import ExportImage
from semples_cli.artifacts.manifest_entries import ManifestEntry
from semples_cli.artifacts.mask_png import read_mask
from semples_cli.data.images import read_image_size
from semples_cli.errors import DataError
from semples_cli.types import IGNORE_INDEX, RunSummary

# Backslashes, which some unpack as folders, control characters, and what some readers take for a line's end.
_UNNAMEABLE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029]")
# A drive of Windows, and what Windows takes for '..': readers refuse the whole export for one of these.
_ELSEWHERE = re.compile(r"[A-Za-z]:|(.*/)?[. ]+(/|$)")


@dataclass
class MaskItems:
    """The masks of a folder and their images.

    Attributes:
        source: The folder of the masks.
        masks: Mask by id.
        pictures: Image by id.
        num_classes: F.
        manifest: What the run says of its masks; may be empty.
        written: Images exported.
        failed: (id, reason).
        void_pixels: Pixels of 255 in them.
        void_masks: Masks with any.
    """

    source: Path
    masks: Mapping[str, Path]
    pictures: Mapping[str, Path]
    num_classes: int
    manifest: Mapping[str, ManifestEntry]
    written: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    void_pixels: int = 0
    void_masks: int = 0

    @property
    def pairs(self) -> list[tuple[str, Path, Path]]:
        """(id, mask, image) of the masks that have an image."""
        return [(key, mask, self.pictures[key]) for key, mask in self.masks.items() if key in self.pictures]

    def read(self, sample_id: str) -> ExportImage:
        """One mask and what is known about it.

        Raises:
            ArtifactError: The mask is damaged.
            DataError: Its image is missing or damaged or of another size, it holds values that are no class, or the
                name cannot be written into an index.
        """
        if sample_id not in self.pictures:
            msg = "no image with this id; give the image folder that the masks were made from"
            raise DataError(msg)
        image = self.pictures[sample_id]
        _check_name(f"{sample_id}{image.suffix}")
        values = read_mask(self.masks[sample_id])
        size = read_image_size(image)
        if size != values.shape:
            ours = " × ".join(map(str, values.shape))
            msg = f"the mask is {ours}, the image {image} {size[0]} × {size[1]}; make the mask again from this image"
            raise DataError(msg)
        largest = int(values.max(initial=0, where=values != IGNORE_INDEX))
        if largest > self.num_classes:
            msg = f"{self.masks[sample_id]} holds {largest}, but there are {self.num_classes} classes; add --classes"
            raise DataError(msg)
        entry = self.manifest.get(sample_id)
        if entry is None:
            return ExportImage(sample_id, image, values)
        confidences = {int(index): value for index, value in entry.class_confidence.items()}
        return ExportImage(sample_id, image, values, entry.confidence, confidences)

    def count(self, image: ExportImage) -> None:
        """It is exported."""
        void = int(np.count_nonzero(image.values == IGNORE_INDEX))
        self.written += 1
        self.void_pixels += void
        self.void_masks += void > 0

    def summary(self, started: float, *, resumed: int = 0) -> RunSummary:
        """How it ended, since a time of `perf_counter`."""
        without = sorted(self.pictures.keys() - self.masks.keys())
        skipped = tuple((sample_id, f"no mask in {self.source}") for sample_id in without)
        return RunSummary(self.written, resumed, skipped, tuple(self.failed), perf_counter() - started)


def _check_name(name: str) -> None:
    if _UNNAMEABLE.search(name):
        msg = f"{name!r} holds a backslash or a control character, which indices cannot name; rename the image"
        raise DataError(msg)
    if _ELSEWHERE.match(name):
        msg = f"{name!r} is for Windows a path to elsewhere, for which readers refuse an export; rename the image"
        raise DataError(msg)
    try:
        name.encode()
    except UnicodeEncodeError:
        msg = f"{name!r} is no valid UTF-8, which indices cannot name; rename the image"
        raise DataError(msg) from None
