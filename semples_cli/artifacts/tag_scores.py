"""The scores that labels were proposed by, as CSV beside them: a line an image, a column a class."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.csv_text import csv_text
from semples_cli.errors import SettingsError
from semples_cli.types import ClassSet

HEADER = ("image", "proposed", "certainty", "unsure")
SUFFIX = ".scores.csv"

# Image, proposed classes, certainty, the class that is nearest to the threshold, the score of each class.
ScoreRow = tuple[str, Sequence[str], float, str, Sequence[float]]


def scores_path(labels: Path) -> Path:
    """Where the scores of a label file lie: `labels.csv` → `labels.scores.csv`."""
    return labels.with_suffix(SUFFIX)


def check_tag_out(out: Path, *, overwrite: bool) -> None:
    """Refuse, before anything expensive, a file that could not be written or not be read again.

    Raises:
        SettingsError: Its name does not end in .csv, or it is there already. Scores without it are what a run left that
            was interrupted between the two.
    """
    if out.suffix.lower() != ".csv":
        name = out / "labels.csv" if out.is_dir() else out.with_suffix(".csv")
        msg = f"--out {out}: proposed labels are a CSV file; call it {name}"
        raise SettingsError(msg)
    if out.exists() and not overwrite:
        msg = f"{out} is there already, perhaps corrected by hand; give --overwrite, or choose another --out"
        raise SettingsError(msg)


def write_tag_scores(path: Path, rows: Iterable[ScoreRow], class_set: ClassSet) -> None:
    """Write the file, whole or not at all; one that is there is replaced."""
    text = csv_text([[*HEADER, *class_set.names], *map(_cells, rows)])
    with open_atomic(path) as handle:
        handle.write(text.encode(errors="surrogateescape"))


def _cells(row: ScoreRow) -> list[str]:
    image, proposed, certainty, unsure, scores = row
    return [image, "|".join(proposed), f"{certainty:.4f}", unsure, *(f"{score:.4f}" for score in scores)]
