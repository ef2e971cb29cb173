"""The nouns that travel between the rooms: frozen, numpy only, checked when they are made.

Letters: N images, F foreground classes, C = 1 + F, K classes present in one image, H, W image pixels, h, w patch grid.
Always (height, width).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semples_cli.class_names import appearance, composed, name_trouble
from semples_cli.errors import ArtifactError, DataError, SettingsError

BACKGROUND = "background"
BACKGROUND_INDEX = 0
IGNORE_INDEX = 255
MAX_CLASSES = 254
PROMPT_TEMPLATE = "a photo of {}."

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]
MaskArray = npt.NDArray[np.uint8]

# Called by a step as (done, total) after each item; total may grow while a step is still planning.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClassSet:
    """The ordered foreground classes; index 0 is background, the first class is 1.

    Attributes:
        names: The F class names as the user writes them, unique, 1 to 254 of them.
        prompt_names: The word given to CLIP for each class; the class name itself unless something sharper is known.
    """

    names: tuple[str, ...]
    prompt_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.prompt_names:
            object.__setattr__(self, "prompt_names", self.names)
        if len(self.prompt_names) != len(self.names):
            msg = f"{len(self.names)} class names but {len(self.prompt_names)} prompt names"
            raise DataError(msg)
        if not self.names:
            msg = "no class at all: name at least one foreground class"
            raise DataError(msg)
        if len(self.names) > MAX_CLASSES:
            msg = (
                f"{len(self.names)} classes, but a mask holds at most {MAX_CLASSES} beside background (0) and "
                f"ignore (255): split the class list into runs of at most {MAX_CLASSES}"
            )
            raise DataError(msg)
        self._check_names()

    def _check_names(self) -> None:
        seen: set[str] = set()
        for name, prompt_name in zip(self.names, self.prompt_names, strict=True):
            if reason := name_trouble(name) or name_trouble(prompt_name, most=None):
                raise DataError(reason)
            if composed(name) in seen:
                msg = f"class {name!r} is listed twice: remove one"
                raise DataError(msg)
            if name == BACKGROUND:
                msg = "'background' is always class 0: leave it out of the class list, or put it on the first line"
                raise DataError(msg)
            seen.add(composed(name))

    def __len__(self) -> int:
        return len(self.names)

    def index_of(self, name: str) -> int:
        """Class index (1..F) of a name; the only place where a class number is born.

        Accents may be written in one character or in two, which no eye sees.

        Raises:
            DataError: The name is unknown; the message offers the nearest known one.
        """
        try:
            return self._position(name) + 1
        except ValueError:
            same = [known for known in self.names if appearance(known) == appearance(name)]
            near = same or get_close_matches(name, self.names, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"known classes: {_shorten(self.names)}"
            msg = f"unknown class {name!r}; {cure}"
            raise DataError(msg) from None

    def _position(self, name: str) -> int:
        if name in self.names or name.isascii():
            return self.names.index(name)
        return tuple(map(composed, self.names)).index(composed(name))

    def name_of(self, index: int) -> str:
        """Name of a class index 0..F; 0 is 'background'."""
        return BACKGROUND if index == BACKGROUND_INDEX else self.names[index - 1]


def _shorten(names: Iterable[str], most: int = 10) -> str:
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class Sample:
    """One image and the classes that its label names.

    Attributes:
        id: Relative POSIX path of the image without suffix (`a/1`, not `1`).
        image_path: Where the image lies.
        class_indices: Sorted class indices in 1..F; empty means: labelled, nothing present.
    """

    id: str
    image_path: Path
    class_indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.id or self.id.startswith("/") or ".." in self.id.split("/"):
            msg = f"image id {self.id!r} is not a relative path inside the image folder"
            raise DataError(msg)
        if any(not 1 <= k <= MAX_CLASSES for k in self.class_indices):
            msg = f"{self.id}: class indices {self.class_indices} must lie in 1..{MAX_CLASSES}"
            raise DataError(msg)
        object.__setattr__(self, "class_indices", tuple(sorted(set(self.class_indices))))


@dataclass(frozen=True)
class Shard:
    """One of the parts that a run over many images is cut into, each done by a process of its own.

    Attributes:
        index: In 1..count.
        count: Parts in all.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            msg = f"shard {self}: shards are numbered from 1, such as 1/{max(self.count, 1)}"
            raise SettingsError(msg)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def part(self) -> slice:
        """Which items of a list are its own: every count-th, from number index - 1 on."""
        return slice(self.index - 1, None, self.count)


@dataclass(frozen=True)
class Cam:
    """Class activation maps of one image on the patch grid.

    Attributes:
        sample_id: Id of the image.
        class_indices: (K,) int64 in 1..F; map k belongs to class_indices[k].
        scores: (K, h, w) float32 in [0, 1].
        image_size: (H, W) of the EXIF-oriented image.
    """

    sample_id: str
    class_indices: IndexArray
    scores: FloatArray
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.scores.ndim != 3 or self.class_indices.shape != (self.scores.shape[0],):
            msg = (
                f"{self.sample_id}: CAM scores of shape {self.scores.shape} do not go with "
                f"{self.class_indices.shape[0]} classes; expected (K, h, w)"
            )
            raise ArtifactError(msg)
        if self.scores.size and not (
            np.isfinite(self.scores).all() and 0 <= self.scores.min() <= self.scores.max() <= 1
        ):
            msg = f"{self.sample_id}: CAM scores must be finite and lie in [0, 1]"
            raise ArtifactError(msg)


@dataclass(frozen=True)
class Mask:
    """A segmentation mask.

    Attributes:
        sample_id: Id of the image.
        values: (H, W) uint8: 0 background, 1..F classes, 255 ignore.
    """

    sample_id: str
    values: MaskArray

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.uint8:
            msg = f"{self.sample_id}: a mask is (H, W) uint8, not {self.values.shape} {self.values.dtype}"
            raise ArtifactError(msg)


@dataclass(frozen=True)
class PromptSet:
    """Learned background prompts, one for each class, and the CLIP that they belong to.

    Attributes:
        class_names: The F class names.
        prompt_names: The words that stood for them in the label texts.
        vectors: (F, L, text width) float32: the learnable tokens.
        clip_name: Model name of the CLIP.
        weights_hash: SHA-256 of its weights.
        quick_gelu: Its activation.
        template: Where the tokens stand: 'a photo of {}.'.
        settings: What they were learned with, as JSON values.
    """

    class_names: tuple[str, ...]
    prompt_names: tuple[str, ...]
    vectors: FloatArray
    clip_name: str
    weights_hash: str
    quick_gelu: bool
    template: str = PROMPT_TEMPLATE
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        num_classes = len(self.class_names)
        if self.vectors.ndim != 3 or len(self.vectors) != num_classes or len(self.prompt_names) != num_classes:
            msg = f"prompts of shape {self.vectors.shape} do not go with {num_classes} classes; expected (F, L, width)"
            raise ArtifactError(msg)
        if not np.isfinite(self.vectors).all():
            msg = "the prompts hold numbers that are not finite; learn them again"
            raise ArtifactError(msg)


@dataclass(frozen=True)
class Report:
    """What `evaluate` found; C = 1 + F classes, background first. Rates are shares of 1, NaN where undefined.

    Attributes:
        class_names: C names, 'background' first.
        iou: (C,) TP / (P + T - TP); NaN for a class with an empty union.
        precision: (C,) TP / P.
        recall: (C,) TP / T.
        fp_rate: (C,) (P - TP) / union.
        fn_rate: (C,) (T - TP) / union.
        miou: Mean of iou over the classes with a non-empty union.
        num_classes_averaged: How many classes miou is over.
        pixel_accuracy: Share of the counted pixels that are right.
        confusion: (C, C + 1) pixel counts, rows ground truth, columns prediction, last column predicted 255.
        coverage: Share of the counted pixels that are not predicted 255.
        num_images: Images counted.
        missing: Ids with ground truth but no mask; left out of the counts.
        background_score: The score that the masks were cut at, where they came from CAMs.
        curve: (background score, mIoU) pairs, ascending in score, where CAMs were evaluated.
    """

    class_names: tuple[str, ...]
    iou: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    fp_rate: npt.NDArray[np.float64]
    fn_rate: npt.NDArray[np.float64]
    miou: float
    num_classes_averaged: int
    pixel_accuracy: float
    confusion: IndexArray
    coverage: float
    num_images: int
    missing: tuple[str, ...] = ()
    background_score: float | None = None
    curve: tuple[tuple[float, float], ...] = field(default=())


@dataclass(frozen=True)
class RunSummary:
    """How a step over many images ended.

    Attributes:
        written: Items written by this run.
        resumed: Items found complete from an earlier run and kept.
        skipped: (id, reason) of items left out on purpose, such as images without a label.
        failed: (id, reason) of items that could not be done; a command with any of them exits 3.
        seconds: Wall time of the run.
    """

    written: int
    resumed: int
    skipped: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]
    seconds: float
