"""The manifest of a run: one JSON line per item, so that a run that was interrupted goes on where it stopped.

An item is done when its last line says `ok` with the same key and its output exists. The key is a hash over the
*contents* of the files that the item was made from and over everything else that shapes its output (`item_key`).
Hashing all images again on each resume would be slow: a line also keeps path, size and mtime of those files, and only
files for which one of the three changed are read again. So a file that was touched or moved is not redone, and one
that was changed is.

Each shard of a run writes a manifest of its own, and all are read as one. Whoever begins while nobody else is at work
takes what shards left into the one of the run; so the lines of shards are always newer than those of the run, and no
two shards have a line on the same item.
"""

import hashlib
import json
import stat
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from semples_cli.artifacts.atomic import open_atomic, write_error
from semples_cli.artifacts.manifest_entries import FileIdentity, ManifestEntry, each_entry, read_entries, whole_lines
from semples_cli.artifacts.own_files import open_in_place
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.artifacts.run_locks import RunLocks, remove_shard_locks
from semples_cli.errors import UnwritableError
from semples_cli.tars.members import open_file, stat_file
from semples_cli.types import Shard


class Manifest:
    """The manifest of one run folder, or of a shard of the run, open for writing and locked until closed.

    Args:
        folder: The run.
        overwrite: Forget what an earlier run did; a shard forgets it for itself alone.
        shard: The shard that this process does; others may be at work beside it. It holds up those that begin until
            `let_others_begin`. None: the whole run.
        only: Ids of the items that this process may ask for: entries of others are not kept. None: all.

    Attributes:
        entries: The last entry of each item that is known from before, by id, by whatever shard.

    Raises:
        ArtifactError: Another run, or the same shard, is writing here, or a line other than a torn last one is damaged.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        overwrite: bool = False,
        shard: Shard | None = None,
        only: Container[str] | None = None,
    ) -> None:
        self._folder = folder
        self._locks = RunLocks(folder, shard)
        try:
            if self._locks.is_alone:
                _take_in_shards(folder, forget=overwrite and shard is None)
                remove_shard_locks(folder, shard)
            own = folder.manifest_of(shard)
            # A torn last line is cut off, or the next line would be glued to it.
            whole = 0 if overwrite else sum(map(len, whole_lines(own)))
            self.entries = {} if overwrite else read_entries(folder, only)
            self._handle = _open(own)
            self._handle.truncate(whole)
            if shard is None:
                self.let_others_begin()
        except BaseException:
            self._locks.close()
            raise

    @property
    def is_alone(self) -> bool:
        """No other shard was at work when this one began."""
        return self._locks.is_alone

    def let_others_begin(self) -> None:
        """From here on other shards may begin: what they must find, such as run.json, is written."""
        self._locks.let_others_begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give the lock back."""
        self._handle.close()
        self._locks.close()

    def is_done(self, sample_id: str, key: str) -> bool:
        """Whether an earlier run finished this very item and its output still exists."""
        entry = self.entries.get(sample_id)
        if entry is None or entry.status != "ok" or entry.key != key:
            return False
        return bool(entry.output) and _has_content(self._folder.root / entry.output)

    def forget(self, sample_id: str, key: str) -> None:
        """Take back what is said of an output that is about to be replaced by another, of another key.

        Otherwise a run that is interrupted between file and line, and then repeated with the settings of old, would
        take the new file for the old one.
        """
        entry = self.entries.get(sample_id)
        if entry is not None and entry.status == "ok" and entry.key != key:
            self.append(ManifestEntry(sample_id, "failed", "interrupted while it was made again"))

    def identify(self, sample_id: str, paths: Sequence[Path]) -> tuple[FileIdentity, ...]:
        """Identity of the files that an item is made from; only files that look changed are read.

        Raises:
            OSError: A file cannot be read.
        """
        entry = self.entries.get(sample_id)
        known = {file.path: file for file in entry.files} if entry else {}
        return tuple(_identify(path.absolute(), known) for path in paths)

    def append(self, entry: ManifestEntry) -> None:
        """Add a line; it is with the operating system when this returns, so it survives the end of the process.

        Raises:
            UnwritableError: It cannot be written, as on a full disk.
        """
        text = json.dumps(asdict(entry), ensure_ascii=False, allow_nan=False)
        # File names that are no valid UTF-8 reach Python as surrogates; json.loads takes them back from bytes.
        line = text.encode(errors="surrogatepass") + b"\n"
        try:
            complete = self._handle.write(line) == len(line)  # unbuffered; short where the disk fills up
        except OSError:
            complete = False
        if not complete:
            msg = f"{self._handle.name}: cannot write, the disk may be full; make room and run the command again"
            raise UnwritableError(msg)
        if entry.id in self.entries:  # of what is new nobody asks again, and a million would fill the memory
            self.entries[entry.id] = entry


def _open(path: Path) -> FileIO:
    try:
        return open_in_place(path, "ab")
    except OSError as error:
        raise write_error(path, error) from error


def _take_in_shards(folder: RunFolder, *, forget: bool) -> None:
    """Put the lines of all shards into the manifest of the run; only for who is alone in the folder.

    Interrupted between the two, it is done again, to the same end.
    """
    shards = folder.shard_manifests
    if shards and not forget:
        for path in (folder.manifest, *shards):
            for _ in each_entry(path):  # refuses damaged lines while it is still known whose they are
                pass
        with open_atomic(folder.manifest) as handle:
            for path in (folder.manifest, *shards):
                handle.writelines(whole_lines(path))
    for path in shards:
        path.unlink()


def _has_content(path: Path) -> bool:
    """An empty file is what the end of the machine may leave of one that was renamed and not yet on the disk."""
    try:
        facts = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size > 0


def _identify(path: Path, known: Mapping[str, FileIdentity]) -> FileIdentity:
    facts = stat_file(path)
    old = known.get(str(path))
    if old is not None and (old.size, old.mtime_ns) == (facts.size, facts.mtime_ns):
        return old
    with open_file(path) as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileIdentity(str(path), facts.size, facts.mtime_ns, digest)
