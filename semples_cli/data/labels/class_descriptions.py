"""Names of Open Images' classes: `/m/01yrx` is Cat, as a class-descriptions CSV beside the labels says."""

import re
from pathlib import Path

from semples_cli.data.labels.csv_lines import read_csv_lines
from semples_cli.errors import DataError

_MACHINE_ID = re.compile(r"/[a-z]/\w+")


def is_machine_id(name: str) -> bool:
    """Whether a label is an id of Google's knowledge graph, `/m/01yrx` or `/g/11bc5yf`, which is no word for CLIP."""
    return _MACHINE_ID.fullmatch(name) is not None


def read_descriptions_beside(labels: Path) -> dict[str, str]:
    """Name by machine id, of all files called `…class-descriptions….csv` in the folder of the labels.

    Raises:
        DataError: A file cannot be read, or two lines name one id differently.
    """
    names: dict[str, str] = {}
    for path in sorted(labels.parent.glob("*class-descriptions*.csv")):
        for line in read_csv_lines(path):
            if len(line.cells) < 2 or not is_machine_id(line.cells[0]):  # later versions have a header
                continue
            machine_id, name = line.cells[:2]
            if names.setdefault(machine_id, name) != name:
                msg = f"{path}:{line.line}: {machine_id} is {name!r} here and {names[machine_id]!r} before; keep one"
                raise DataError(msg)
    return names
