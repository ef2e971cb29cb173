"""The class numbers of other projects, which count the foreground from 0 or from 1, become our class indices."""

from semples_cli.data.cams.foreign_maps import ForeignMaps
from semples_cli.errors import DataError
from semples_cli.types import MAX_CLASSES, ClassSet

NUMBERINGS = (0, 1)
OPTION = "--cams-numbering"


def class_slots(found: ForeignMaps, numbering: int | None, class_set: ClassSet | None) -> dict[int, int]:
    """Where in the file the map of each class is.

    Args:
        found: What the file holds.
        numbering: The number of the first foreground class: 0 or 1. From 1 on, a leading 0 is background, and it is
            left out. None where the file names its classes.
        class_set: The classes, where they are known.

    Returns:
        Position of the map by class index 1..F, in the order of the file.

    Raises:
        DataError: Numbers and maps do not go together, or a number or name is none of the classes.
    """
    names = [key for key in found.keys if isinstance(key, str)]
    if names:
        return _named_slots(found, names, class_set)
    keys = [int(key) for key in found.keys]
    padded = numbering == 1 and keys[:1] == [0]
    extra = len(keys) - len(found.maps)
    if extra not in ((0, 1) if padded else (0,)):
        msg = f"{found.path}: {len(keys)} keys, but {len(found.maps)} maps; each key has its map, background has none"
        raise DataError(msg)
    slots = {key + 1 - (numbering or 0): place - extra for place, key in enumerate(keys)}
    if padded:
        del slots[0]
    _check_range(found, keys, slots, numbering, class_set)
    return slots


def label_fit(found: ForeignMaps, numbering: int, class_set: ClassSet | None, class_indices: tuple[int, ...]) -> int:
    """How well the classes of a file go with the label of its image, when they are counted so.

    Args:
        found: What the file holds.
        numbering: As in `class_slots`.
        class_set: The classes, where they are known.
        class_indices: The label, in 1..F.

    Returns:
        2: there are maps of just these classes; 1: of these and others; 0: not of all of them.
    """
    try:
        classes = class_slots(found, numbering, class_set).keys()
    except DataError:
        return 0
    return 0 if set(class_indices) - classes else 1 + (len(classes) == len(class_indices))


def _named_slots(found: ForeignMaps, names: list[str], class_set: ClassSet | None) -> dict[int, int]:
    if class_set is None:
        msg = f"{found.path}: its maps are named by class ({', '.join(names[:3])}, …); give the class list by --classes"
        raise DataError(msg)
    try:
        return {class_set.index_of(name): place for place, name in enumerate(names)}
    except DataError as error:
        msg = f"{found.path}: {error}"
        raise DataError(msg) from None


def _check_range(
    found: ForeignMaps, keys: list[int], slots: dict[int, int], numbering: int | None, class_set: ClassSet | None
) -> None:
    largest = MAX_CLASSES if class_set is None else len(class_set)
    if slots and not 1 <= min(slots) <= max(slots) <= largest:
        first = numbering or 0
        msg = (
            f"{found.path}: keys {', '.join(map(str, keys[:8]))}, but {largest} classes counted from {first} are "
            f"{first} to {largest - 1 + first}; give the class list of these CAMs, or the other {OPTION}"
        )
        raise DataError(msg)
