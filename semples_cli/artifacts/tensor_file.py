"""Safetensors files: named arrays and texts about them; the same content gives the same bytes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.errors import ArtifactError, one_line
from semples_cli.tars.regular import read_regular

Arrays = dict[str, npt.NDArray[np.generic]]

_LENGTH_BYTES = 8
_VERSION_DIGITS = 9
_LONGEST_SHOWN = 60


def write_tensors(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]], metadata: Mapping[str, str]) -> Path:
    """Write a file, whole or not at all.

    Args:
        path: The target; missing folders are made.
        arrays: By name.
        metadata: Texts by name.

    Returns:
        The file.
    """
    data = save({name: np.asarray(array, order="C") for name, array in arrays.items()}, dict(metadata))
    with open_atomic(path) as handle:
        handle.write(_with_sorted_header(data))
    return path


def read_tensors(path: Path, cure: str) -> tuple[Arrays, dict[str, str]]:
    """Read a file that `write_tensors`, or any other writer of safetensors, wrote.

    Args:
        path: The file.
        cure: What to do where it is missing or damaged, for the message.

    Returns:
        Arrays and metadata.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        data = read_regular(path)
        arrays: Arrays = dict(load(data))
        metadata = _header(data).get("__metadata__") or {}
        return arrays, {str(name): str(text) for name, text in metadata.items()}
    except (FileNotFoundError, NotADirectoryError):
        msg = f"{path}: no such file; {cure}"
        raise ArtifactError(msg) from None
    except OSError as error:
        msg = f"{path}: not a readable safetensors file ({error.strerror}); {cure}"
        raise ArtifactError(msg) from None
    except Exception as error:  # the bytes may be anybody's, and the library has no list of what it raises
        msg = f"{path}: not a readable safetensors file ({one_line(error)}); {cure}"
        raise ArtifactError(msg) from None


def is_version(text: str) -> bool:
    """Whether a text of a file's metadata is a format version: a number of few digits."""
    return text.isascii() and text.isdecimal() and len(text) <= _VERSION_DIGITS


def as_names(value: object) -> tuple[str, ...]:
    """A list of names, as JSON in the metadata holds it.

    Raises:
        ArtifactError: It is something else.
    """
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        msg = f"{_shortened(value)} is no list of names"
        raise ArtifactError(msg)
    return tuple(value)


def as_dict(value: object) -> dict[str, Any]:
    """Values by name, as JSON in the metadata holds them.

    Raises:
        ArtifactError: It is something else.
    """
    if not isinstance(value, dict):
        msg = f"{_shortened(value)} came where settings or curves by name are needed"
        raise ArtifactError(msg)
    return value


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} …"


def _header(data: bytes) -> dict[str, dict[str, object]]:
    size = int.from_bytes(data[:_LENGTH_BYTES], "little")
    header: dict[str, dict[str, object]] = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + size])
    return header


def _with_sorted_header(data: bytes) -> bytes:
    """The library writes metadata in an order that changes from run to run; a reader takes any order."""
    size = int.from_bytes(data[:_LENGTH_BYTES], "little")
    text = json.dumps(_header(data), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # the format wants arrays aligned
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + data[_LENGTH_BYTES + size :]
