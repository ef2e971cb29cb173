"""The hand-written background words that compete with the classes."""

from pathlib import Path

from semples_cli.data.text_file import is_file
from semples_cli.data.word_file import read_entries
from semples_cli.errors import DataError

BUILT_IN = Path(__file__).parent / "background_words"
NONE = "none"


def read_background_words(source: str) -> tuple[str, ...]:
    """Read background words.

    Args:
        source: 'voc', 'coco', 'none', or a file with one word a line.

    Returns:
        The words, each once, in order; () for 'none'.

    Raises:
        DataError: There is no such list or file.
    """
    if source == NONE:
        return ()
    built_in = {path.stem: path for path in sorted(BUILT_IN.glob("*.txt"))}
    path = built_in.get(source, Path(source))
    if not is_file(path):
        msg = (
            f"{source}: no such background words; choose {', '.join(built_in)}, {NONE}, or a file with one word a line"
        )
        raise DataError(msg)
    return tuple(dict.fromkeys(entry for _, entry in read_entries(path)))
