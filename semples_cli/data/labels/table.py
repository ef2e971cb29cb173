"""The one internal form of labels: which row of the file says what of which image."""

import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from semples_cli.class_names import name_trouble
from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND, ClassSet

# Written, in any case, where no class is meant; unless the class list has a class of that name.
NO_CLASS = frozenset({"", "none", "no finding", "[]", "nan", "null", BACKGROUND})

# A path of Linux has 4096 bytes at most.
_LONGEST_KEY = 4096

_LONGEST_MESSAGE = 600

# Problems up to which the nearest class is looked for.
_MOST_HELPED = 1000

# Where (`file:line:column`), and what is wrong there and what to do.
Problem = tuple[str, str]


# A class name, and the column that it stands in, from 1; 0 for none.
PlacedName = tuple[str, int]


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
        problems: Rows that cannot be used.
        form: The format, as `--labels-format` calls it; '' where no file was read.
        absent: How often the source says of a class that it is not there; of most formats nothing does.
        uncertain: How often it says of a class that nobody is sure, or that it is hard to see; taken as absent.
        repeated: Rows that say again what another row of the image says.
        contradicted: Images whose rows contradict each other; they have no row here.
    """

    rows: dict[str, LabelRow]
    class_names: tuple[str, ...] | None
    description: str
    source: Path
    problems: tuple[Problem, ...] = ()
    form: str = ""
    absent: Mapping[str, int] = field(default_factory=dict)
    uncertain: Mapping[str, int] = field(default_factory=dict)
    repeated: int = 0
    contradicted: tuple[str, ...] = ()

    def where(self, key: str) -> str:
        """The place of a row: `labels.csv:12`, or the source alone where there are no lines."""
        return place_of(self.source, self.rows[key].line)


@dataclass
class TableBuilder:
    """Collects rows and problems while a file is read.

    Attributes:
        source: The file.
        class_set: Known classes; None takes every name.
        absent: Counts of what is said to be absent, by class.
        uncertain: Counts of what nobody is sure of, by class.
    """

    source: Path
    class_set: ClassSet | None
    rows: dict[str, LabelRow] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    absent: Counter[str] = field(default_factory=Counter)
    uncertain: Counter[str] = field(default_factory=Counter)
    _first: dict[str, LabelRow] = field(default_factory=dict)
    _contradicted: set[str] = field(default_factory=set)
    _repeated: int = 0
    _verdicts: dict[str, str] = field(default_factory=dict)

    def refuse(self, line: int, column: int, message: str) -> None:
        """Note a row that cannot be used; line and column from 1, 0 where there is none."""
        if len(message) > _LONGEST_MESSAGE:  # a cell in it is; the cure stands at the end
            message = f"{message[: _LONGEST_MESSAGE // 2]} … {message[-_LONGEST_MESSAGE // 2 :]}"
        self.problems.append((place_of(self.source, line, column), message))

    def add(self, image: str, names: Iterable[PlacedName], line: int, column: int = 1) -> None:
        """Take a row, or note why it cannot be taken.

        Args:
            image: The image as the row names it.
            names: Its class names, each with the column that it stands in.
            line: Its line.
            column: Where the image is named.
        """
        key = image.strip().replace("\\", "/").removeprefix("./")
        if not key:
            self.refuse(line, column, "no image is named; write its file name into this cell, or remove the row")
            return
        if len(key) > _LONGEST_KEY:
            self.refuse(line, column, f"an image called by {len(key)} characters, which no path has; correct the row")
            return
        placed = [(name.strip(), at) for name, at in names]
        placed = [(name, at) for name, at in placed if not means_no_class(name, self.class_set)]
        for name, at in placed:
            if message := self.unknown(name):
                self.refuse(line, at, message)
                return
        self._enter(key, tuple(dict.fromkeys(spelled(name, self.class_set) for name, _ in placed)), line, column)

    def _enter(self, key: str, names: tuple[str, ...], line: int, column: int) -> None:
        """Rows that contradict each other are all left out: nobody can tell which one is right."""
        self._repeated += key in self._first
        first = self._first.setdefault(key, LabelRow(names, line))
        if set(first.names) == set(names):
            if key not in self._contradicted:
                self.rows[key] = first
            return
        said = "|".join(first.names) or "none"
        place = f"on line {first.line}" if first.line else "elsewhere"
        message = f"{key} has other labels {place} ({said}); neither is used, keep one row with all"
        self.refuse(line, column, message)
        self._contradicted.add(key)
        self.rows.pop(key, None)

    def unknown(self, name: str) -> str:
        """Why a name is no known class, or can be none; '' if it is one."""
        if name not in self._verdicts:
            self._verdicts[name] = self._judge(name)
        return self._verdicts[name]

    def _judge(self, name: str) -> str:
        trouble = name_trouble(name)
        if trouble or self.class_set is None:
            return trouble
        if len(self.problems) > _MOST_HELPED and name not in self.class_set.names:
            return f"unknown class {name!r}; correct it, or add it to the class list"  # a near one takes milliseconds
        try:
            self.class_set.index_of(name)
        except DataError as error:
            return str(error)
        return ""

    def finish(self, form: str, class_names: tuple[str, ...] | None = None, extra: str = "") -> LabelTable:
        """The table; `form` names the format in the description."""
        found = {name for row in self.rows.values() for name in row.names}
        num_classes = len(class_names) if class_names is not None else len(found)
        images = f"{len(self.rows)} image{'s' * (len(self.rows) != 1)}"
        classes = f"{num_classes} class{'es' * (num_classes != 1)}"
        description = f"{self.source}: read as {form}: {classes}, {images}{extra}"
        return LabelTable(
            self.rows,
            class_names,
            description,
            self.source,
            tuple(self.problems),
            absent=dict(self.absent),
            uncertain=dict(self.uncertain),
            repeated=self._repeated,
            contradicted=tuple(sorted(self._contradicted)),
        )


def wrong_name(names: Iterable[object]) -> str:
    """The first of these that is no text, as it is shown to people; '' if all are."""
    return next((shown(name) for name in names if not isinstance(name, str)), "")


def shown(value: object) -> str:
    """A value for a message: short, whatever is in it."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"


def place_of(source: Path, line: int = 0, column: int = 0) -> str:
    """`file:line:column`, as far as there is a line and a column."""
    return str(source) + "".join(f":{number}" for number in (line, column) if number)


def spelled(name: str, class_set: ClassSet | None) -> str:
    """A known name as the class list spells it, which may compose its accents otherwise."""
    if class_set is None or name in class_set.names:
        return name
    return class_set.name_of(class_set.index_of(name))


def means_no_class(name: str, class_set: ClassSet | None) -> bool:
    """Whether a label says that nothing is present; 'background' does, for it is always class 0."""
    return name.casefold() in NO_CLASS and (class_set is None or name not in class_set.names)
