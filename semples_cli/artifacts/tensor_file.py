"""Safetensors files: named arrays and texts about them; the same content gives the same bytes."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.errors import ArtifactError

Arrays = dict[str, npt.NDArray[np.generic]]

_LENGTH_BYTES = 8
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)


def write_tensors(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]], metadata: Mapping[str, str]) -> Path:
    """Write a file, whole or not at all.

    Args:
        path: The target; missing folders are made.
        arrays: By name.
        metadata: Texts by name.

    Returns:
        The file.
    """
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(metadata))
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
        data = path.read_bytes()
        arrays: Arrays = dict(load(data))
        metadata = _header(data).get("__metadata__", {})
        return arrays, {str(name): str(text) for name, text in metadata.items()}
    except (FileNotFoundError, NotADirectoryError):
        msg = f"{path}: no such file; {cure}"
        raise ArtifactError(msg) from None
    except _DAMAGE as error:
        msg = f"{path}: not a readable safetensors file ({error}); {cure}"
        raise ArtifactError(msg) from None


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
