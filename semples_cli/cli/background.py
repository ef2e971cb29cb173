"""What `--background-score` and `--calibrate` ask for."""

from pathlib import Path
from typing import TYPE_CHECKING

from semples_cli.config import DEFAULT_BACKGROUND_SCORE
from semples_cli.errors import SettingsError

if TYPE_CHECKING:
    from semples_cli.steps.choose_background import BackgroundRule

AUTO = "auto"


def read_background(score: str | None, calibrate: Path | None) -> "tuple[float, BackgroundRule | None]":
    """The background score, and the rule that is to choose another in its place, if any.

    Args:
        score: Of --background-score: a number, 'auto', or None where it is not given.
        calibrate: Of --calibrate.

    Raises:
        SettingsError: The score is no number, or is given beside masks that are to choose it.
    """
    if calibrate is not None and score not in (None, AUTO):
        msg = f"--background-score {score} and --calibrate, which chooses it: leave one of them out"
        raise SettingsError(msg)
    if calibrate is not None or score == AUTO:
        from semples_cli.steps.choose_background import BackgroundRule

        return DEFAULT_BACKGROUND_SCORE, BackgroundRule(calibrate)
    return (DEFAULT_BACKGROUND_SCORE if score is None else parse_score(score)), None


def parse_score(text: str) -> float:
    """A background score as the command line gives it; its range is checked where it is used.

    Raises:
        SettingsError: It is no number.
    """
    try:
        return float(text)
    except ValueError:
        msg = f"--background-score {text!r}: give a number from 0 to 1, or auto"
        raise SettingsError(msg) from None
