"""How long `make_cams` would take and how much it would write, from a few images, with nothing left on disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.config import CamSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS, read_image
from semples_cli.engine.cam_maker import CamMaker
from semples_cli.engine.clip import ClipEngine
from semples_cli.errors import DataError, SemplesError
from semples_cli.steps.cam_batch import CamOutput
from semples_cli.steps.choose_maker import choose_maker
from semples_cli.steps.make_cams import DEFAULT_SETTINGS
from semples_cli.types import ClassSet, Sample

NUM_TIMED = 3


@dataclass(frozen=True)
class Estimate:
    """What a run would cost; measured one image at a time, which batches on a GPU are faster than.

    Attributes:
        seconds_per_image: Reading, network and writing.
        bytes_per_image: CAM, mask and overlay.
        num_images: Images of the run.
    """

    seconds_per_image: float
    bytes_per_image: float
    num_images: int

    @property
    def hours(self) -> float:
        """For all images."""
        return self.seconds_per_image * self.num_images / 3600

    @property
    def gigabytes(self) -> float:
        """For all images; 10⁹ bytes."""
        return self.bytes_per_image * self.num_images / 1e9


def estimate_cams(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    settings: CamSettings = DEFAULT_SETTINGS,
    *,
    generator: CamMaker | None = None,
    overlays: bool = False,
    mask_mode: str = "palette",
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Estimate:
    """Time three images from all over the list, after warming up; what they write goes to a temporary folder.

    Args:
        samples: As for `make_cams`.
        class_set: The classes.
        engine: A built CLIP.
        settings: How CAMs would be made.
        generator: As for `make_cams`.
        overlays: As for `make_cams`.
        mask_mode: As for `make_cams`.
        max_pixels: As for `make_cams`.

    Raises:
        DataError: No image can be read.
        SemplesError: The settings do not go with the model, or not even one image fits into memory.
    """
    generator = generator or choose_maker(engine, class_set, settings)
    timed = list(islice(_readable(samples, max_pixels), NUM_TIMED))
    if not timed:
        msg = f"none of the {len(samples)} images can be read; a run without --dry-run says why, for each of them"
        raise DataError(msg)
    generator.maps([read_image(timed[0].image_path, max_pixels)], [timed[0].class_indices])  # to warm up
    with TemporaryDirectory() as folder:
        output = CamOutput(RunFolder(Path(folder)), settings, overlays, mask_mode, max_pixels)
        started = perf_counter()
        for sample in timed:
            image = read_image(sample.image_path, max_pixels)
            (scores,) = generator.maps([image], [sample.class_indices])
            output.write(sample, image, scores)
        seconds = perf_counter() - started
        num_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return Estimate(seconds / len(timed), num_bytes / len(timed), len(samples))


def _readable(samples: Sequence[Sample], max_pixels: int) -> Iterator[Sample]:
    """Images that can be read, from all over the list first; those without classes, which cost less, last."""
    costly = [sample for sample in samples if sample.class_indices] or list(samples)
    spread = costly[:: max(1, len(costly) // NUM_TIMED)][:NUM_TIMED]
    for sample in dict.fromkeys([*spread, *costly, *samples]):
        try:
            read_image(sample.image_path, max_pixels)
        except (SemplesError, OSError):
            continue
        yield sample
