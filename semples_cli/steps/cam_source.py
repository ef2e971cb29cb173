"""The one seam through which CAMs come in: ours, those of other projects, and masks as one-hot scores."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from semples_cli.artifacts.cam_store import find_cams
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.run_folder import RunFolder, refuse_stages
from semples_cli.data.cams.foreign_maps import MAP_NAMES, ForeignMaps
from semples_cli.data.cams.irn import NAME as IRN
from semples_cli.data.cams.matching import match_ids
from semples_cli.data.cams.numbering import NUMBERINGS, OPTION, label_fit
from semples_cli.data.cams.plain_npz import NAME as NPZ_FORMAT
from semples_cli.data.cams.plain_npz import first_names, has_numbers, is_ours
from semples_cli.data.cams.recognise import DICT_FORMATS, DICT_NUMBERING, NPY, NPZ, find_foreign, recognise_dicts
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps.cam_reader import AUTO, PNG, SEMPLES, CamForm, CamReader
from semples_cli.tars.regular import read_regular
from semples_cli.types import Cam, ClassSet, Sample

CAM_FORMATS = (AUTO, SEMPLES, *DICT_FORMATS, NPZ_FORMAT, PNG)
# Images whose classes are compared with their labels before anything is done.
LABELS_CHECKED = 16

Note = Callable[[str], None]


@dataclass(frozen=True)
class CamSource:
    """A folder of CAMs.

    Attributes:
        folder: The folder.
        description: One sentence: what it was read as.
        paths: File by image id, sorted.
        reader: Reads one of them.
        note: Called with a sentence, once for each kind of change to scores.
    """

    folder: Path
    description: str
    paths: Mapping[str, Path]
    reader: CamReader
    note: Note | None = None
    _said: set[str] = field(default_factory=set, repr=False, compare=False)

    @property
    def format(self) -> str:
        """Name of the format, one of `CAM_FORMATS` without 'auto'."""
        return self.reader.form.fmt

    @property
    def is_foreign(self) -> bool:
        """Whether others than `semples` wrote it, or masks stand for CAMs."""
        return self.format != SEMPLES

    def read(self, sample_id: str, image_size: tuple[int, int] | None = None) -> Cam:
        """Read the CAM of an image; errors and image_size as in `CamReader.read`.

        Args:
            sample_id: A key of `paths`.
            image_size: (H, W) of the upright image.

        Returns:
            The CAM; scores (K, h, w) float32 in [0, 1], on a grid or at the size of the image.
        """
        cam, changes = self.reader.read(self.paths[sample_id], sample_id, image_size)
        for change in changes:
            if self.note is not None and change not in self._said:
                self._said.add(change)
                self.note(f"{self.folder}: {change}, as in {sample_id}")
        return cam

    def named_as(self, ids: Iterable[str]) -> "CamSource":
        """The same CAMs by the ids of images: by relative path, then by file name, where only one file has it.

        CAMs of semples have the ids of their images already.

        Raises:
            DataError: Two files, or two images, share a name by which they would be brought together.
        """
        return replace(self, paths=match_ids(self.paths, ids)) if self.is_foreign else self

    def check_labels(self, samples: Sequence[Sample]) -> None:
        """Refuse class numbers that fit the labels only when they are counted otherwise.

        Args:
            samples: Images and their classes, with the ids of `paths`; some of them are looked at.

        Raises:
            DataError: More of them fit the other numbering than this one.
        """
        numbering, classes = self.reader.form.numbering, self.reader.class_set
        if numbering is None:
            return
        labelled = [sample for sample in samples if sample.class_indices and sample.id in self.paths]
        right = wrong = 0
        for sample in labelled[:: max(1, len(labelled) // LABELS_CHECKED)]:
            found = self._try_open(sample.id)
            if found is None:
                continue
            this, other = (label_fit(found, n, classes, sample.class_indices) for n in (numbering, 1 - numbering))
            right, wrong = right + (this >= other), wrong + (this < other)
        if wrong > right:
            msg = (
                f"{self.folder}: counted from {numbering}, the class numbers go worse with the labels than counted "
                f"from {1 - numbering}; add {OPTION} {1 - numbering}"
            )
            raise DataError(msg)

    def _try_open(self, sample_id: str) -> ForeignMaps | None:
        try:
            return self.reader.open(self.paths[sample_id])
        except DataError:  # told when the image's turn comes
            return None

    def fingerprint(self, ids: Iterable[str]) -> str:
        """SHA-256 of how these CAMs are read, and of the files of these ids, in hexadecimal."""
        digest = hashlib.sha256(repr(tuple(self.reader.form)).encode() if self.is_foreign else b"")
        for sample_id in ids:
            if sample_id in self.paths:
                digest.update(sample_id.encode(errors="surrogatepass"))
                digest.update(_content(self.paths[sample_id]))
        return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError:  # told when the image's turn comes
        return b"cannot be read"


def open_cams(
    folder: Path,
    class_set: ClassSet | None,
    fmt: str = AUTO,
    numbering: int | None = None,
    maps: str | None = None,
    *,
    note: Note | None = None,
) -> CamSource:
    """Find the CAMs of a folder, whoever wrote them.

    Args:
        folder: A run folder, its folder of CAMs, a folder of `.npy` or `.npz` files, or one of mask PNGs.
        class_set: The classes, where they are known: numbers beyond them are refused.
        fmt: One of `CAM_FORMATS`; 'auto' recognises it.
        numbering: Number of the first foreign foreground class, 0 or 1; None: 0, as the projects do that write `.npy`.
            Plain npz files do not say, so it is needed for them.
        maps: 'high_res' or 'cam', where files of IRN's form hold both; None: 'high_res'.
        note: Called with a sentence on each kind of change to scores, and, for CAMs that are not ours, with the
            description.

    Raises:
        ArtifactError: There are no CAMs, the masks are none, or this is the folder around several runs.
        DataError: The format is not recognised, or no file can be read.
        SettingsError: Options that do not fit the format, or numbers without `numbering`.
    """
    _check_options(fmt, numbering, maps)
    refuse_stages(folder)
    chosen = _recognise(folder) if fmt == AUTO else fmt
    paths = _find(folder, chosen)
    if maps is not None and chosen != IRN:
        msg = f"--cams-map {maps}: the CAMs in {folder} ({chosen}) have one map a class; leave --cams-map out"
        raise SettingsError(msg)
    form = CamForm(chosen, _numbering(folder, chosen, numbering, paths), maps)
    source = CamSource(folder, _describe(form, len(paths)), paths, CamReader(form, class_set), note)
    if source.is_foreign and note is not None:
        note(f"{folder}: {source.description}")
    return source


def _check_options(fmt: str, numbering: int | None, maps: str | None) -> None:
    for option, value, choices in (
        ("--cams-format", fmt, CAM_FORMATS),
        (OPTION, numbering, (None, *NUMBERINGS)),
        ("--cams-map", maps, (None, *MAP_NAMES)),
    ):
        if value not in choices:
            known = ", ".join(str(choice) for choice in choices if choice is not None)
            msg = f"{option} {value}: choose one of {known}"
            raise SettingsError(msg)


def _recognise(folder: Path) -> str:
    if RunFolder(folder).cams.is_dir():
        return SEMPLES
    npy, npz = find_foreign(folder, NPY), find_foreign(folder, NPZ)
    if npy and npz:
        msg = f"{folder}: holds .npy and .npz files; say by --cams-format which of them are the CAMs, or take some out"
        raise DataError(msg)
    if npy:
        return recognise_dicts(npy.values())
    if npz:
        return SEMPLES if is_ours(first_names(npz.values())) else NPZ_FORMAT
    return PNG if folder.is_dir() and find_masks(folder) else SEMPLES


def _find(folder: Path, fmt: str) -> Mapping[str, Path]:
    if fmt == SEMPLES:
        return find_cams(folder)
    paths = find_masks(folder) if fmt == PNG else find_foreign(folder, NPZ if fmt == NPZ_FORMAT else NPY)
    if not paths:
        msg = f"{folder}: no files of the format {fmt} here; give their folder, or leave --cams-format out"
        raise ArtifactError(msg)
    if fmt == PNG:
        read_mask(next(iter(paths.values())))  # photos are no masks: told before the work, and once
    return paths


def _numbering(folder: Path, fmt: str, numbering: int | None, paths: Mapping[str, Path]) -> int | None:
    """The number of the first class; None where the numbers are ours, or classes are named."""
    counted = fmt in DICT_FORMATS or (fmt == NPZ_FORMAT and has_numbers(first_names(paths.values())))
    if not counted and numbering is not None:
        msg = f"{OPTION} {numbering}: the classes in {folder} ({fmt}) are not counted otherwise; leave {OPTION} out"
        raise SettingsError(msg)
    if counted and numbering is None and fmt == NPZ_FORMAT:
        msg = (
            f"{folder}: npz files do not say whether their first foreground class is 0 or 1; "
            f"add {OPTION} 0 or {OPTION} 1"
        )
        raise SettingsError(msg)
    return DICT_NUMBERING if counted and numbering is None else numbering


def _describe(form: CamForm, files: int) -> str:
    if form.fmt == SEMPLES:
        return f"read as CAMs of semples: {files} files"
    if form.fmt == PNG:
        return f"read as masks: {files} PNGs, score 1 on the pixels of a class"
    whose = DICT_FORMATS[form.fmt].whose if form.fmt in DICT_FORMATS else "plain npz"
    classes = "classes by name" if form.numbering is None else f"keys counted from {form.numbering}"
    return f"read as {whose}: {files} files, {classes}"
