"""The state of an interrupted training on disk: tensors and numbers only, never executed when read."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from semples_cli.errors import ArtifactError


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
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        torch.save({**state, "fingerprint": self.fingerprint}, partial)
        partial.replace(self.path)

    def restore(self, device: torch.device) -> dict[str, Any] | None:
        """Read the state of an interrupted run of the same training; None where there is none.

        Raises:
            ArtifactError: The file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
            same = state["fingerprint"] == self.fingerprint
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
            msg = f"{self.path}: the interrupted training's state cannot be read ({error}); delete it to train anew"
            raise ArtifactError(msg) from None
        return state if same else None
