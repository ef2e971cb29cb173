"""What can be wrong with a folder of masks: a code, how bad it is, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "info"]

LOW_COVERAGE = 0.5
MOST_VALUES = 40

_CATALOGUE: dict[str, tuple[Severity, str, str]] = {
    "no-masks": ("error", "no mask PNG in the folder", "give the folder that holds <id>.png"),
    "unreadable": ("error", "not a PNG, or a damaged one", "write or fetch the file again"),
    "jpeg": (
        "error",
        "JPEG, which damages class indices",
        "make the masks again as PNG; one that was converted from JPEG stays damaged",
    ),
    "wrong-kind": (
        "error",
        "not palette or 8-bit grey: RGB, alpha, 16 or 1 bits",
        "save as palette or 8-bit grey PNG with 0 for background, 1, 2, … for classes, 255 for ignore",
    ),
    "no-class": (
        "error",
        "values that are no class",
        "check --classes; grey levels come from resizing with interpolation or from pictures: make the masks again",
    ),
    "binary": (
        "error",
        "only 0 and 255 in all masks: 255 means ignore here, so they show no class",
        "write the class number in place of 255, 1 for the first class",
    ),
    "size": (
        "error",
        "not of its image's size",
        "make the mask from this very image, or resize it by nearest neighbour",
    ),
    "transposed": (
        "error",
        "height and width are those of the image exchanged",
        "the mask was made without the image's EXIF orientation: make it from the upright image",
    ),
    "no-image": ("error", "mask without image", "give the folder that the masks were made from by --images"),
    "foreign-class": (
        "error",
        "classes that the image's label does not name",
        "the labels changed, or the masks have other class numbers: make the masks again, or check --classes",
    ),
    "same-id": ("error", "two files for one image", "remove one"),
    "no-file": ("error", "the manifest says ok, and there is no file", "run the command that made the masks again"),
    "record": ("error", "the run's own files are damaged", "run the command that made the masks again"),
    "no-mask": ("warning", "image without mask", "run the command that makes the masks for all images, or ignore it"),
    "image": ("warning", "image cannot be read, so sizes are not compared", "fetch the image again"),
    "grey-levels": (
        "warning",
        f"more than {MOST_VALUES} values in one mask",
        "these may be grey levels; --classes tells for sure",
    ),
    "all-background": (
        "warning",
        "all background, though the label names classes",
        "lower the background score, or look at the image",
    ),
    "no-pixel": ("warning", "labelled classes without a pixel", "lower the background score, or look at the image"),
    "all-ignore": ("warning", "all 255", "nothing is learned from it: lower --min-confidence, or leave it out"),
    "low-coverage": (
        "warning",
        f"less than {LOW_COVERAGE:.0%} of the pixels are not 255",
        "little is learned from it: lower --min-confidence",
    ),
    "unfinished": (
        "warning",
        "left behind by a run that was interrupted",
        "run the same command again, or remove them if none is running",
    ),
    "case": ("warning", "names that differ in case only, one file on Windows and macOS", "rename one"),
    "not-ok": ("warning", "a file that the manifest does not call ok", "an old one: remove it, or make it again"),
    "run": ("warning", "folders that are runs of their own, not looked at", "check each of them"),
    "only-background": ("info", "all background", "right if nothing is there; --labels tells"),
    "same-name": ("info", "one name in several folders", "tools that keep all files in one folder lose one of them"),
    "no-palette": ("info", "grey PNG without colours", "right, and black to the eye: --mask-mode palette has colours"),
    "palette": (
        "info",
        "colours unlike VOC's",
        "right for readers of values; readers of colours will see other classes",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: What, in a word.
        severity: 'error', 'warning' or 'info'.
        what: What, in a sentence.
        cure: What to do.
        items: (id or file, detail) of all that it was found in; the detail may be ''.
    """

    code: str
    severity: Severity
    what: str
    cure: str
    items: tuple[tuple[str, str], ...]


@dataclass
class Findings:
    """Collects what is wrong, by code."""

    _items: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: {code: [] for code in _CATALOGUE})

    def add(self, code: str, item: str, detail: str = "") -> None:
        """One more item of a code."""
        self._items[code].append((item, detail))

    def extend(self, code: str, items: Iterable[tuple[str, str]]) -> None:
        """More items of a code."""
        for item, detail in items:
            self.add(code, item, detail)

    def sorted(self) -> tuple[Finding, ...]:
        """All of them, errors first, items by name."""
        return tuple(
            Finding(code, *entry, items=tuple(sorted(self._items[code])))
            for code, entry in _CATALOGUE.items()
            if self._items[code]
        )
