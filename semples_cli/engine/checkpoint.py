"""The state of an interrupted training on disk: tensors and numbers only, never executed when read."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from semples_cli.engine.weights import reason_of
from semples_cli.errors import ArtifactError, UnwritableError


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of an interrupted training lies.

    Attributes:
        path: The file.
        fingerprint: Of settings and data; the state of another training is not taken up.
        every: Steps between two writings.
    """

    path: Path
    fingerprint: str
    every: int = 50

    def store(self, state: Mapping[str, object]) -> None:
        """Write the state, whole or not at all.

        Args:
            state: State dicts, tensors, numbers and lists of them.

        Raises:
            UnwritableError: The disk is full, or the permission is lost.
        """
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            torch.save({**state, "fingerprint": self.fingerprint}, partial)
            partial.replace(self.path)
        except BaseException as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            if not isinstance(error, OSError | RuntimeError):
                raise
            # torch says a full disk as a RuntimeError of its archive.
            msg = f"{self.path}: the state of the training cannot be written ({_first_line(error)}); make room, and "
            msg += "run the same command again: it goes on from the state that was written last"
            raise UnwritableError(msg) from error

    def restore(self, device: torch.device) -> dict[str, Any] | None:
        """Read the state of an interrupted run of the same training; None where there is none.

        Raises:
            ArtifactError: The file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with warnings.catch_warnings(action="ignore"):  # of pickles that are not torch's own
                state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
            same = state["fingerprint"] == self.fingerprint
        except Exception as error:  # garbage raises anything
            msg = f"{self.path}: the interrupted training's state cannot be read ({reason_of(error)}); delete it to "
            msg += "train anew"
            raise ArtifactError(msg) from None
        return state if same else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
