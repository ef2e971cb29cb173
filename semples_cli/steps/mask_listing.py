"""What lies in a folder of masks: the masks by id, and what should not lie there."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from semples_cli.artifacts.run_folder import HIDDEN, OVERLAYS
from semples_cli.errors import ArtifactError

PNG = ".png"
JPEG = frozenset({".jpg", ".jpeg"})
PARTIAL = ".partial"


@dataclass
class MaskListing:
    """The files of a folder, from one walk; (id or path, detail) where something is to be said.

    Attributes:
        masks: PNG by id: relative POSIX path without suffix, sorted.
        jpegs: JPEG files.
        leftovers: Files of a run that was interrupted.
        doubles: Ids that two files have.
        unlistable: Folders that cannot be read.
        runs: Folders below that are runs of their own; what is in them is left out.
    """

    masks: dict[str, Path] = field(default_factory=dict)
    jpegs: list[tuple[str, str]] = field(default_factory=list)
    leftovers: list[tuple[str, str]] = field(default_factory=list)
    doubles: list[tuple[str, str]] = field(default_factory=list)
    unlistable: list[tuple[str, str]] = field(default_factory=list)
    runs: list[tuple[str, str]] = field(default_factory=list)


def list_masks(folder: Path) -> MaskListing:
    """Walk a folder of masks; hidden files and pictures of ours are no masks, unfinished files are found everywhere.

    Raises:
        ArtifactError: There is no such folder.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give the folder that holds the mask PNGs"
        raise ArtifactError(msg)
    listing = MaskListing()
    for path in sorted(_files(folder, listing)):
        _sort_in(listing, path, path.relative_to(folder))
    return listing


def _files(folder: Path, listing: MaskListing) -> Iterator[Path]:
    def note(error: OSError) -> None:
        listing.unlistable.append((str(error.filename), f"cannot be listed: {error.strerror}"))

    for place, inner, names in os.walk(folder, onerror=note):
        here = Path(place)
        runs = [name for name in inner if (here / name / HIDDEN).is_dir()]
        listing.runs += [((here / name).relative_to(folder).as_posix(), "") for name in sorted(runs)]
        inner[:] = [name for name in inner if name not in runs]
        yield from (here / name for name in names)


def _sort_in(listing: MaskListing, path: Path, inside: Path) -> None:
    suffix, name = path.suffix.lower(), inside.as_posix()
    if suffix == PARTIAL:
        listing.leftovers.append((name, ""))
    elif inside.parts[0] == OVERLAYS or any(part.startswith(".") for part in inside.parts):
        return
    elif suffix in JPEG:
        listing.jpegs.append((name, ""))
    elif suffix == PNG:
        other = listing.masks.setdefault(inside.with_suffix("").as_posix(), path)
        if other != path:
            listing.doubles.append((inside.with_suffix("").as_posix(), f"{other.name} and {path.name}"))
