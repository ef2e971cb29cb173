"""What commands with images and a CLIP begin with: say what was recognised, then load the model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from semples_cli.cli.console import MOST_LISTED, say, warn
from semples_cli.config import EngineSettings
from semples_cli.errors import DataError

if TYPE_CHECKING:
    from semples_cli.data.dataset import Dataset
    from semples_cli.engine.clip import ClipEngine


def take_stock(dataset: "Dataset") -> None:
    """Say what was recognised, and what does not go together.

    Raises:
        DataError: No image is left.
    """
    for note in dataset.notes:
        say(note)
    _list([_whole_message(where, message) for where, message in dataset.problems])
    _list([f"no image here goes with the label of {row}" for row in dataset.unmatched_rows])
    if not dataset.samples:
        msg = (
            f"no image has a label: {len(dataset.unlabelled)} images and {len(dataset.unmatched_rows)} rows do not "
            "meet; name the images in the labels by their path or file name, or give one label to all by --label NAME"
        )
        raise DataError(msg)


def load_engine(wanted: EngineSettings, note: Callable[[str], None] = say) -> "ClipEngine":
    """Load the CLIP, and say so first: it takes seconds, and torch alone takes some.

    Each of the processes that torchrun starts on a machine loads it on a GPU of its own.

    Args:
        wanted: Which, and where.
        note: Called with what there is to say.

    Raises:
        EngineError: It cannot be loaded.
        SettingsError: Device and precision, or one GPU and several processes, do not go together.
    """
    note(f"loading {wanted.weights if Path(wanted.weights).is_dir() else f'{wanted.model}, {wanted.weights}'}")
    from semples_cli.engine.build import build_engine
    from semples_cli.engine.data_parallel import own_device

    engine = build_engine(replace(wanted, device=own_device(wanted.device)))
    if engine.record.get("quick_gelu_from") == "assumed":
        note(
            f"warning: {wanted.weights} does not say which activation it was trained with; "
            f"{'QuickGELU' if engine.record['quick_gelu'] else 'GELU'} is assumed: "
            "give --quick-gelu (as for OpenAI's weights) or --no-quick-gelu to be sure"
        )
    return engine


def _whole_message(where: str, message: str) -> str:
    """Messages on a line of a file name the file themselves."""
    return message if message.startswith(where) else f"{where}: {message}"


def _list(warnings: Sequence[str]) -> None:
    for warning in warnings[:MOST_LISTED]:
        warn(warning)
    if len(warnings) > MOST_LISTED:
        warn(f"… and {len(warnings) - MOST_LISTED} more of this kind; --json lists all")
