"""Ground truth: the masks that people bring, matched by id with what was predicted for them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.data.voc import id_in_split
from semples_cli.errors import ArtifactError, DataError
from semples_cli.types import MaskArray, Shard

VOC_FOLDERS = ("SegmentationClassAug", "SegmentationClass")

# Called with a sentence about something that was left out; the command says it on stderr.
Note = Callable[[str], None]


@dataclass(frozen=True)
class Pair:
    """What was predicted for an image, and its ground truth.

    Attributes:
        sample_id: Id of the image.
        path: The mask or CAM.
        target_path: The ground-truth PNG.
    """

    sample_id: str
    path: Path
    target_path: Path

    def read_target(self, size_of_path: tuple[int, ...]) -> MaskArray:
        """Read the ground truth, (H, W) uint8.

        Args:
            size_of_path: (H, W) of the mask or of the CAM's image.

        Raises:
            DataError: It cannot be read, or is of another size.
        """
        with _as_ground_truth():
            target = read_mask(self.target_path)
        if target.shape != size_of_path:
            ours, theirs = (f"{height} x {width}" for height, width in (size_of_path, target.shape))
            msg = (
                f"{self.path} is {ours} pixels (height x width), but its ground truth {self.target_path} is {theirs}: "
                f"evaluate what was made from the ground truth's own images, at their full size"
            )
            raise DataError(msg)
        return target

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Put both paths before the message of a DataError about their values."""
        try:
            yield
        except DataError as error:
            msg = f"{self.path} against {self.target_path}: {error}"
            raise DataError(msg) from error


@dataclass(frozen=True)
class Matched:
    """What can be compared, and what cannot.

    Attributes:
        pairs: Images with both sides, sorted by id; at least one, but for a part.
        missing: Sorted ids that have ground truth, but nothing predicted.
    """

    pairs: tuple[Pair, ...]
    missing: tuple[str, ...]

    def part(self, shard: Shard) -> "Matched":
        """What a shard counts, and what it says is missing; both may be nothing."""
        return Matched(self.pairs[shard.part], self.missing[shard.part])


def match_ground_truth(
    found: Mapping[str, Path], noun: str, ground_truth: Path, split_list: Path | None, note: Note | None
) -> Matched:
    """Pair what was predicted with the ground truth of the same id.

    Args:
        found: Paths of masks or CAMs by id.
        noun: What they are, for messages.
        ground_truth: A folder of PNGs, or a VOC devkit.
        split_list: Text file whose lines begin with an id: the others are left out.
        note: Called with a sentence where something predicted has no ground truth.

    Raises:
        DataError: No ground truth, nothing that matches, or a split list that cannot be used.
    """
    targets = find_targets(ground_truth)
    wanted = tuple(targets) if split_list is None else _read_split(split_list, targets)
    pairs = tuple(Pair(sample_id, found[sample_id], targets[sample_id]) for sample_id in wanted if sample_id in found)
    if not pairs:
        ours = f"the {noun}s are called {next(iter(found))!r} and so on" if found else f"there are no {noun}s"
        msg = (
            f"nothing to compare: {ours}, the ground truth in {ground_truth} {wanted[0]!r} and so on: give two folders "
            f"in which the same image has the same file name and subfolder"
        )
        raise DataError(msg)
    unmatched = len(found.keys() - targets.keys())
    if unmatched and note is not None:
        note(f"{unmatched} of {len(found)} {noun}s have no ground truth and are not counted")
    return Matched(pairs, tuple(sample_id for sample_id in wanted if sample_id not in found))


def find_targets(ground_truth: Path) -> dict[str, Path]:
    """Ground-truth PNGs by id, of a folder or a VOC devkit.

    Raises:
        DataError: There is none.
    """
    folder = next((ground_truth / name for name in VOC_FOLDERS if (ground_truth / name).is_dir()), ground_truth)
    with _as_ground_truth():
        targets = find_masks(folder)
    if not targets:
        msg = f"{folder}: no PNG in it; give the folder of ground-truth masks, or a VOC devkit with SegmentationClass"
        raise DataError(msg)
    return targets


def _read_split(path: Path, targets: Mapping[str, Path]) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot read this split list ({error}): give a UTF-8 text file with one id a line"
        raise DataError(msg) from error
    wanted: set[str] = set()
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        # An id may have spaces, labels may follow, and some lists name image and mask in its place.
        forms = (line, line.split(maxsplit=1)[0], id_in_split(line))
        sample_id = next((form for form in forms if form in targets), forms[1])
        if sample_id not in targets:
            msg = f"{path}:{number}: no ground truth for {sample_id!r}; ids there look like {next(iter(targets))!r}"
            raise DataError(msg)
        wanted.add(sample_id)
    if not wanted:
        msg = f"{path}: no id in this split list: write one id a line"
        raise DataError(msg)
    return tuple(sorted(wanted))


@contextmanager
def _as_ground_truth() -> Iterator[None]:
    """Turn an ArtifactError, about files of ours, into a DataError: this file was brought by the user."""
    try:
        yield
    except ArtifactError as error:
        msg = f"ground truth {error}"
        raise DataError(msg) from error
