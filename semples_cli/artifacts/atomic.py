"""Files that are whole or absent: written to `<name>.partial` beside the target, then renamed.

That holds however the process ends. There is no fsync: it took 7 ms a file where it was tried, and guards only
against the end of the machine, after which a run is resumed by reading what is there.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from semples_cli.errors import ArtifactError, UnwritableError

# What is wrong with the name of one file; all else (no room, no permission, no disk) concerns every file that follows.
_OF_THE_NAME = frozenset(
    {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ELOOP}
)


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its own name only when the block ends without an error.

    Args:
        path: The target; missing folders are made.

    Yields:
        A binary handle on `<path>.partial`.

    Raises:
        UnwritableError: The disk is full, the permission is lost, or the like.
        ArtifactError: No file can have this name.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # of a process that was killed; were it a link, the writing would go elsewhere
        with partial.open("xb") as handle:
            yield handle
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and _is_of_writing(error, path, partial):
            raise write_error(path, error) from error
        raise


def remove_file(path: Path) -> None:
    """Remove a file of ours if it is there; a name that no file can have is the name of none.

    Raises:
        UnwritableError: It is there and stays.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _OF_THE_NAME:
            raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> ArtifactError:
    """What the system's refusal to write a file means for the run.

    Args:
        path: The file.
        error: What was raised.

    Returns:
        An UnwritableError; where only the name is wrong, an ArtifactError that concerns this file alone.
    """
    if error.errno in _OF_THE_NAME:
        return ArtifactError(f"{path}: cannot be written ({error.strerror}); rename the image, or what lies there")
    return UnwritableError(
        f"{path}: cannot be written ({error.strerror}); make room, or give the permission, and run the same command "
        "again: what is written is complete"
    )


def _is_of_writing(error: OSError, path: Path, partial: Path) -> bool:
    """Whether an error in the block is of the file that it writes, and not of one that it reads."""
    if error.errno is None:
        return False
    named = error.filename
    return named is None or Path(named) in (path, partial, *path.parents)
