"""The nouns that learned prompts are described by."""

from pathlib import Path

from semples_cli.data.text_file import is_file
from semples_cli.data.word_file import read_entries
from semples_cli.errors import DataError

BUILT_IN = "builtin"

_BUILT_IN_PATH = Path(__file__).parent / "nouns.txt"


def read_nouns(source: str = BUILT_IN) -> tuple[str, ...]:
    """Read nouns.

    Args:
        source: 'builtin' for the list in the package, or a file with one word a line.

    Returns:
        The nouns, each once, in the file's order.

    Raises:
        DataError: There is no such file, or no word in it.
    """
    path = _BUILT_IN_PATH if source == BUILT_IN else Path(source)
    if not is_file(path):
        msg = f"{source}: no such noun list; give {BUILT_IN}, or a file with one word a line"
        raise DataError(msg)
    nouns = tuple(dict.fromkeys(entry for _, entry in read_entries(path)))
    if not nouns:
        msg = f"{source}: no noun in it; write one word a line"
        raise DataError(msg)
    return nouns
