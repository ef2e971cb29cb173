"""The errors that a user can cause, and the exit code that each one ends a command with.

    SemplesError            1   the run stopped
    ├── DataError           1   images, labels, masks that people brought
    ├── ArtifactError       1   files that we wrote earlier: damaged, or of another run
    │   ├── BusyError       1   another process is writing there
    │   └── UnwritableError 1   nothing more can be written there: no matter of one item, so it ends the run
    ├── EngineError         1   model, weights, device
    └── SettingsError       2   options that do not fit together, or have no valid value

A message says what is wrong, where, what came, and what to do about it.
"""


class SemplesError(Exception):
    """Base of all errors with a message meant for the user: one line, no traceback."""

    exit_code = 1


class DataError(SemplesError):
    """Something that the user brought (image, label file, ground truth) cannot be used as it is."""


class ArtifactError(SemplesError):
    """A file that semples wrote (CAM, mask, manifest, report) is missing, damaged, or belongs to another run."""


class BusyError(ArtifactError):
    """Another process is writing there; later it may be free."""


class UnwritableError(ArtifactError):
    """A disk that is full, gone or read-only, or a permission that is lost: whatever comes next would fail as well.

    A step that goes on past a bad item lets this one through, so that the run stops at the first.
    """


class EngineError(SemplesError):
    """The model, its weights or the device cannot be used."""


class SettingsError(SemplesError):
    """Options that contradict each other or have no valid value; exit code 2, like a usage error."""

    exit_code = 2


def one_line(error: BaseException, most: int = 200) -> str:
    """What an error of others says, for a message: on one line, of bounded length, and never nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]} …"
