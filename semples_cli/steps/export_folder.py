"""The output folder of `export_masks`: who may write there, what was written, and when it is complete."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from semples_cli.artifacts.own_files import refuse_links_below
from semples_cli.artifacts.run_folder import HIDDEN, RunFolder, read_run_record, write_run_record
from semples_cli.artifacts.run_lock import lock_run
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.tars.members import stat_file
from semples_cli.types import Shard

_CURE = "choose another --out, or --overwrite to write it again, whatever was edited there"


class ExportFolder:
    """One export, from the lock to the last file; a context manager.

    `.semples/run.json` says what is exported, and `complete` when nothing is missing; `.semples/written.txt` names the
    files, so that an export that is made again leaves none of the old ones behind.

    Args:
        root: The folder.
        record: What is exported, as JSON values: the same record, the same files.
        overwrite: Write again, whatever is there.

    Attributes:
        root: As given.
        is_complete: The very same export is there, whole.
        files: Its index files.

    Raises:
        ArtifactError: Another process writes here, or nothing can be written.
        SettingsError: Something else is there already.
    """

    def __init__(self, root: Path, record: Mapping[str, Any], *, overwrite: bool) -> None:
        self.root = root
        self._run = RunFolder(root)
        self._record = dict(record)
        refuse_links_below(root)
        previous = read_run_record(root) if root.is_dir() else None
        if not overwrite:
            _check_free(root, previous, record)
        self.files = tuple(root / name for name in (previous or {}).get("files", ()))
        self.is_complete = not overwrite and previous is not None and self._is_whole(previous)
        self._lock = lock_run(self._run.lock)
        self._list: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._list is not None:
            self._list.close()
        self._lock.close()

    def begin(self) -> None:
        """Remove what an earlier export wrote, and say that this one is not complete."""
        self._remove_old()
        write_run_record(self._run, {**self._record, "complete": False})
        self._written.unlink(missing_ok=True)  # were it a link, the writing would go elsewhere
        self._list = self._written.open("xb", buffering=0)  # what is on the disk is in the list, however a run ends

    def note(self, paths: Iterable[Path]) -> None:
        """Files of the export."""
        if self._list is not None:
            for path in paths:
                self._list.write(f"{self._inside(path)}\n".encode(errors="surrogateescape"))

    def complete(self, files: Iterable[Path]) -> None:
        """All is written: the same command has nothing to do the next time."""
        names = [self._inside(path) for path in files]
        write_run_record(self._run, {**self._record, "complete": True, "files": names})

    def _is_whole(self, previous: Mapping[str, Any]) -> bool:
        same = all(previous.get(key) == value for key, value in self._record.items())
        return same and bool(previous.get("complete")) and all(path.is_file() for path in self.files)

    @property
    def _written(self) -> Path:
        return self._run.hidden / "written.txt"

    def _inside(self, path: Path) -> str:
        return path.relative_to(self._run.root).as_posix()

    def _remove_old(self) -> None:
        if not self._written.exists():
            return
        text = self._written.read_text(encoding="utf-8", errors="surrogateescape")
        for line in filter(None, text.split("\n")):  # splitlines() would cut names at other signs too
            name = Path(line)
            if name.is_absolute() or ".." in name.parts:
                msg = f"{self._written}: {line!r} lies outside of the export; remove {self._run.root} by hand"
                raise ArtifactError(msg)
            (self._run.root / name).unlink(missing_ok=True)


def shard_folder(out: Path, shard: Shard | None) -> Path:
    """Where the export of a shard lies, which is complete in itself: an index cannot be written by several processes.

    Args:
        out: The folder that was given.
        shard: The shard; None: the whole export lies in `out` itself.

    Raises:
        SettingsError: The same images are, or may be, in there already: as a whole, or cut into another number.
    """
    if shard is None:
        return out
    others = [path.name for path in sorted(out.glob("shard-*of*")) if not path.name.endswith(f"of{shard.count}")]
    if others or read_run_record(out) is not None:
        there = f"another number of shards ({others[0]})" if others else "an export that is not cut into shards"
        msg = f"--out {out} holds {there}, and with --shard {shard} images would be there twice: choose another --out"
        raise SettingsError(msg)
    return out / f"shard-{shard.index}of{shard.count}"


def part_of_masks(
    masks: Mapping[str, Path], pictures: Mapping[str, Path], shard: Shard | None
) -> tuple[dict[str, Path], dict[str, Path]]:
    """The masks of a shard with their images, and its part of the images that have no mask.

    Args:
        masks: Mask by id, of all.
        pictures: Image by id, of all.
        shard: The shard; None: all.
    """
    part = slice(None) if shard is None else shard.part
    own = {*sorted(masks)[part], *sorted(pictures.keys() - masks.keys())[part]}
    kept = [{key: path for key, path in each.items() if key in own} for each in (masks, pictures)]
    return kept[0], kept[1]


def fingerprint(items: Iterable[tuple[str, Path, Path]]) -> str:
    """Hash over ids, and over size and time of change of mask and image.

    Args:
        items: (id, mask, image).

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for sample_id, *paths in items:
        line = json.dumps([sample_id, [_facts(path) for path in paths]])
        digest.update(line.encode())
    return digest.hexdigest()


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        facts = stat_file(path)
    except OSError:  # told when the item's turn comes
        return None
    return facts.size, facts.mtime_ns


def _check_free(root: Path, previous: Mapping[str, Any] | None, record: Mapping[str, Any]) -> None:
    if previous is None:
        if root.is_dir() and any(entry.name != HIDDEN for entry in root.iterdir()):
            msg = f"--out {root} is not empty and no export of ours: choose another --out, or add to it by --overwrite"
            raise SettingsError(msg)
        return
    if previous.get("command") != record["command"] or previous.get("to") != record["to"]:
        what = " --to ".join(str(previous[key]) for key in ("command", "to") if key in previous)
        msg = f"--out {root} was made by `semples {what}`; {_CURE}"
        raise SettingsError(msg)
    changed = [key for key, value in record.items() if previous.get(key) != value]
    if previous.get("complete") and changed:
        msg = f"--out {root} holds a complete export, and {', '.join(changed)} changed since; {_CURE}"
        raise SettingsError(msg)
