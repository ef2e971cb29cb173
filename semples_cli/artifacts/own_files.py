"""What a run writes lies in its own folder: links in there that lead elsewhere are refused, and never followed.

An output folder may have come from others, with its links. Only --out itself may be one.
"""

import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from semples_cli.artifacts.run_folder import OVERLAYS, RunFolder
from semples_cli.errors import ArtifactError

# Not on Windows, where making a link takes a right that few have.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def open_in_place(path: Path, mode: str) -> io.FileIO:
    """Open a file for writing under its own name, where it cannot be replaced as a whole, such as a lock.

    Args:
        path: The file.
        mode: As of `io.FileIO`, such as 'a+b'.

    Raises:
        OSError: It cannot be opened.
        ArtifactError: It is a link, or no regular file.
    """
    if path.is_symlink():
        msg = f"{path}: a link, and a run writes into no file that lies elsewhere; remove it, or choose another --out"
        raise ArtifactError(msg)
    handle = io.FileIO(path, mode, opener=lambda name, flags: os.open(name, flags | _NO_LINK, 0o666))
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        msg = f"{path}: a pipe or a device where a file of the run belongs; remove it, or choose another --out"
        raise ArtifactError(msg)
    return handle


def refuse_links(run: RunFolder, ids: Iterable[str]) -> None:
    """Refuse an output folder in which the masks, CAMs or pictures of these images would go elsewhere.

    Args:
        run: The run folder, which need not be there.
        ids: Of the images.

    Raises:
        ArtifactError: A folder in it is a link.
    """
    inner = {sample_id.rpartition("/")[0] for sample_id in ids}
    for top in (run.root, run.cams, run.root / OVERLAYS):
        for folder in inner:
            _refuse_link(run.root, (top / folder).relative_to(run.root))


def refuse_links_below(root: Path) -> None:
    """Refuse a folder that holds a link to a folder, at any depth.

    Raises:
        ArtifactError: It does.
    """
    for place, inner, _ in os.walk(root):
        for name in inner:
            _refuse_link(root, (Path(place) / name).relative_to(root))


def _refuse_link(root: Path, inside: Path) -> None:
    """Look at a folder and those around it, up to the root."""
    for folder in (inside, *inside.parents):
        if folder != Path() and os.path.islink(root / folder):  # noqa: PTH114  # raises at no name
            msg = (
                f"{root / folder}: a link, and nothing is written outside of the output folder; remove it, or choose "
                "another --out"
            )
            raise ArtifactError(msg)
