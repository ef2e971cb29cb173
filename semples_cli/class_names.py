"""Which texts can be names of classes, and which two would be taken for one."""

import re
import unicodedata

# Files are called by classes, and file systems take 255 bytes.
MAX_CLASS_NAME = 200

# Line ends and other control characters, and halves of characters that no file can hold.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def composed(name: str) -> str:
    """The name with its accents composed (NFC): macOS takes them apart."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def appearance(name: str) -> str:
    """What two names share that nobody would take for two: without case, width, spaces and invisible marks."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")


def name_trouble(name: str, most: int | None = MAX_CLASS_NAME) -> str:
    """Why a text can be no class name of at most so many characters, with the cure; '' if it can."""
    if name != name.strip() or not name:
        return f"class {name!r} begins or ends with a space; remove it" if name.strip() else "a class name is empty"
    if most is not None and len(name) > most:
        return f"class {name[:20]!r} … has {len(name)} characters, more than {most}; shorten it"
    if _UNWRITABLE.search(name):
        return f"class {name!r} holds a line end, a tab or another control character; rename it"
    return ""
