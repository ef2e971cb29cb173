"""Reads the CAM of one image, in whatever form it lies on disk: ours, that of another project, or a mask."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semples_cli.artifacts.cam_store import read_cam
from semples_cli.artifacts.mask_png import read_mask
from semples_cli.data.cams.foreign_maps import ForeignMaps
from semples_cli.data.cams.numbering import class_slots
from semples_cli.data.cams.recognise import read_foreign
from semples_cli.data.cams.scores import unit_scores
from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND_INDEX, IGNORE_INDEX, MAX_CLASSES, Cam, ClassSet, FloatArray, IndexArray

AUTO, SEMPLES, PNG = "auto", "semples", "png"


class CamForm(NamedTuple):
    """What the user says about CAMs; the three arguments of `open_cams` that the steps hand on.

    Attributes:
        fmt: One of `CAM_FORMATS`.
        numbering: Number of the first foreground class, 0 or 1; None: as the format has it.
        maps: 'high_res' or 'cam', where the files hold both; None: the larger.
    """

    fmt: str = AUTO
    numbering: int | None = None
    maps: str | None = None


ANY_FORM = CamForm()


@dataclass(frozen=True)
class CamReader:
    """Reads a file of one format; small, so that it travels to worker processes.

    Attributes:
        form: The format, which is not 'auto' any more, with its numbering and maps.
        class_set: The classes, where they are known.
    """

    form: CamForm
    class_set: ClassSet | None

    def read(
        self, path: Path, sample_id: str, image_size: tuple[int, int] | None = None
    ) -> tuple[Cam, tuple[str, ...]]:
        """Read one CAM.

        Args:
            path: The file.
            sample_id: Id of the image.
            image_size: (H, W) of the upright image; None where it is not known. A CAM of semples knows its own.

        Returns:
            The CAM, and a sentence on each kind of change to its scores.

        Raises:
            ArtifactError: A CAM of semples, or a mask, cannot be read.
            DataError: A file of another project cannot be read, has other classes or another size, or its scores are
                not finite.
        """
        if self.form.fmt == SEMPLES:
            return read_cam(path, sample_id), ()
        if self.form.fmt == PNG:
            indices, scores = _one_hot(path, self.class_set)
            return Cam(sample_id, indices, scores, _check_size(path, scores, image_size)), ()
        found = self.open(path)
        slots = class_slots(found, self.form.numbering, self.class_set)
        scores, changes = unit_scores(path, found.maps[list(slots.values())])
        size = _check_size(path, scores, image_size) if found.at_image_size else image_size
        if size is None:
            msg = f"{path}: maps on a grid, and nothing says the size of the image; save them at the image's size"
            raise DataError(msg)
        return Cam(sample_id, np.array(list(slots), np.int64), scores, size), changes

    def open(self, path: Path) -> ForeignMaps:
        """What a file of another project holds, as it is.

        Raises:
            DataError: It cannot be read.
        """
        return read_foreign(path, self.form.fmt, self.form.maps)


def _one_hot(path: Path, class_set: ClassSet | None) -> tuple[IndexArray, FloatArray]:
    """Classes and (K, H, W) scores of a mask: 1 on the pixels of the class; what is ignored is of no class."""
    values = read_mask(path)
    classes = np.setdiff1d(values, (BACKGROUND_INDEX, IGNORE_INDEX)).astype(np.int64)
    largest = MAX_CLASSES if class_set is None else len(class_set)
    if classes.size and classes[-1] > largest:
        msg = (
            f"{path}: class {classes[-1]} in it, but the classes are 1 to {largest}; give the class list of these masks"
        )
        raise DataError(msg)
    return classes, (values == classes[:, None, None]).astype(np.float32)


def _check_size(path: Path, scores: FloatArray, image_size: tuple[int, int] | None) -> tuple[int, int]:
    height, width = scores.shape[1:]
    if image_size is not None and image_size != (height, width):
        theirs = f"{image_size[0]}×{image_size[1]}"
        msg = (
            f"{path}: maps of {height}×{width} pixels (height × width), but the image is {theirs}, turned as its EXIF "
            f"data say: give the images that these CAMs were made from"
        )
        raise DataError(msg)
    return height, width
