"""An index file that grows image by image beside its place, and takes its name when it is complete."""

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


class IndexFile:
    """`open_atomic` for a file that stays open between calls: written to `<path>.partial`, renamed by `complete`.

    Args:
        path: The target; its folder, and the file, are made by the first `write`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: BinaryIO | None = None

    @property
    def partial(self) -> Path:
        """Where it lies until it is complete."""
        return self.path.with_name(self.path.name + ".partial")

    @property
    def is_begun(self) -> bool:
        """Whether anything was written yet."""
        return self._handle is not None

    @property
    def handle(self) -> BinaryIO:
        """The open file, seekable, made where it is missing."""
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.partial.unlink(missing_ok=True)  # were it a link, the writing would go elsewhere
            self._handle = self.partial.open("x+b")
        return self._handle

    def write(self, text: str) -> int:
        """Append text as UTF-8.

        Returns:
            Bytes written.
        """
        return self.handle.write(text.encode())

    def complete(self) -> Path:
        """Close and rename; an index without any line is written too.

        Returns:
            The file.
        """
        self.handle.close()
        self.partial.replace(self.path)
        self._handle = None
        return self.path

    def abandon(self) -> None:
        """Close and remove; nothing happens where there is nothing, or after `complete`."""
        if self._handle is not None:
            with suppress(OSError):  # closing flushes, which fails where the disk is full
                self._handle.close()
            self.partial.unlink(missing_ok=True)
            self._handle = None
