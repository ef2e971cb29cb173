"""The one internal form of labels: which row of the file says what of which image."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND, ClassSet

NO_CLASS = frozenset({"", "none", "no finding", "[]", "nan", "null", BACKGROUND})


@dataclass(frozen=True)
class LabelRow:
    """What one row says.

    Attributes:
        names: Class names, each once; empty: labelled, nothing present.
        line: Line of the file, from 1; 0 where the labels are no file.
    """

    names: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class LabelTable:
    """Labels as read, before they meet the images.

    Attributes:
        rows: By image as the file names it.
        class_names: Where the file itself fixes the order of the classes (a one-hot header), else None.
        description: What was recognised, for people.
        source: The file or folder.
        problems: Rows that cannot be used: `file:line:column: what and what to do`.
    """

    rows: dict[str, LabelRow]
    class_names: tuple[str, ...] | None
    description: str
    source: Path
    problems: tuple[str, ...] = ()


@dataclass
class TableBuilder:
    """Collects rows and problems while a file is read.

    Attributes:
        source: The file.
        class_set: Known classes; None takes every name.
    """

    source: Path
    class_set: ClassSet | None
    rows: dict[str, LabelRow] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _conflicting: set[str] = field(default_factory=set)

    def refuse(self, line: int, column: int, message: str) -> None:
        """Note a row that cannot be used."""
        self.problems.append(f"{self.source}:{line}:{column}: {message}")

    def add(self, image: str, names: Iterable[str], line: int, column: int) -> None:
        """Take a row, or note why it cannot be taken."""
        key = image.strip().replace("\\", "/").removeprefix("./")
        kept = tuple(dict.fromkeys(name for name in (n.strip() for n in names) if name.casefold() not in NO_CLASS))
        if not key:
            self.refuse(line, 1, "no image is named; write its file name in the first cell")
            return
        if self._unknown(kept, line, column):
            return
        earlier = self.rows.get(key)
        if key in self._conflicting or (earlier is not None and set(earlier.names) != set(kept)):
            first = f" on line {earlier.line}" if earlier else ""
            self.refuse(line, 1, f"{key} is labelled otherwise{first}; keep one row with all labels of the image")
            self._conflicting.add(key)
            self.rows.pop(key, None)
            return
        self.rows.setdefault(key, LabelRow(kept, line))

    def _unknown(self, names: tuple[str, ...], line: int, column: int) -> bool:
        for name in names:
            try:
                if self.class_set is not None:
                    self.class_set.index_of(name)
            except DataError as error:
                self.refuse(line, column, str(error))
                return True
        return False

    def finish(self, form: str, class_names: tuple[str, ...] | None = None, extra: str = "") -> LabelTable:
        """The table; `form` names the format in the description."""
        found = {name for row in self.rows.values() for name in row.names}
        num_classes = len(class_names) if class_names is not None else len(found)
        images = f"{len(self.rows)} image{'s' * (len(self.rows) != 1)}"
        classes = f"{num_classes} class{'es' * (num_classes != 1)}"
        description = f"{self.source}: read as {form}: {classes}, {images}{extra}"
        return LabelTable(self.rows, class_names, description, self.source, tuple(self.problems))
