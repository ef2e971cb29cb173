"""Images with the CAMs that prompts are learned from: which of them go together, and what is left out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semples_cli.artifacts.run_folder import read_class_set
from semples_cli.data.images import read_image
from semples_cli.engine.background_regions import MappedImages
from semples_cli.errors import ArtifactError, DataError, SemplesError
from semples_cli.steps.cam_reader import ANY_FORM, CamForm
from semples_cli.steps.cam_record import Note
from semples_cli.steps.cam_source import CamSource, open_cams
from semples_cli.steps.generator_weights import check_classes
from semples_cli.steps.plan_batches import describe
from semples_cli.types import ClassSet, FloatArray, Sample


def given_cams(
    cams: Path, samples: Sequence[Sample], class_set: ClassSet, form: CamForm = ANY_FORM, note: Note | None = None
) -> CamSource:
    """The CAMs that the user names, of a run or of another project, by image id.

    Args:
        cams: Run folder, or folder of CAMs or masks.
        samples: Images and their classes.
        class_set: The classes.
        form: What the user says about CAMs of other projects.
        note: Called with a sentence about what was recognised, and about scores that must be changed.

    Raises:
        ArtifactError: There are no CAMs, or they are of other classes.
        DataError: They are of other images, are not recognised, or their class numbers do not go with the labels.
        SettingsError: `form` does not go with them.
    """
    if (recorded := read_class_set(cams)) is not None:  # class numbers of another list would mean other classes
        check_classes(str(cams), recorded.names, recorded.names, ClassSet(class_set.names))
    source = open_cams(cams, class_set, *form, note=note).named_as(sample.id for sample in samples)
    if not any(sample.class_indices and sample.id in source.paths for sample in samples):
        msg = "no labelled image has a CAM: give the --cams folder that was made of these images"
        raise DataError(msg)
    source.check_labels(samples)
    return source


def mapped_images(samples: Sequence[Sample], source: CamSource, max_pixels: int, note: Note) -> MappedImages:
    """Labelled images that have a CAM; the label decides, a map of another class is left out.

    Args:
        samples: Images and their classes.
        source: The CAMs, by image id.
        max_pixels: Images with more pixels are left out.
        note: Called with a sentence about what is left out.
    """
    found = [sample for sample in samples if sample.id in source.paths and sample.class_indices]
    if missing := [sample.id for sample in samples if sample.id not in source.paths and sample.class_indices]:
        note(f"{len(missing)} labelled images have no CAM and are left out, the first of them {missing[0]}")

    def read(i: int) -> tuple[npt.NDArray[np.uint8], FloatArray] | None:
        sample = found[i]
        try:
            image = read_image(sample.image_path, max_pixels)
            cam = source.read(sample.id, (image.shape[0], image.shape[1]))
            return image, cam.scores[_slots(sample, cam.class_indices.tolist())]
        except (SemplesError, OSError, MemoryError) as error:
            note(f"{sample.id} is left out: {describe(error)}")
            return None

    return MappedImages([sample.class_indices for sample in found], read)


def _slots(sample: Sample, classes: list[int]) -> list[int]:
    if missing := set(sample.class_indices) - set(classes):
        msg = f"its CAM has no map of class {min(missing)}; make the CAMs again with these labels"
        raise ArtifactError(msg)
    return [classes.index(k) for k in sample.class_indices]
