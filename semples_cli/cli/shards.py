"""What `--shard` asks for."""

import re

from semples_cli.errors import SettingsError
from semples_cli.types import Shard


def read_shard(text: str | None) -> Shard | None:
    """The shard of `--shard i/n`; None where it is not given.

    Raises:
        SettingsError: It is not of this form, or i is not in 1..n.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if match is None:
        msg = f"--shard {text!r}: give which part of how many, such as 1/64"
        raise SettingsError(msg)
    return Shard(int(match[1]), int(match[2]))
