"""Small model directories: only the rows of the token table that training used are stored.

CLIP's table has 49,408 rows and dominates a tiny model's size. Beside the cut `token_embedding.weight` (R, width) the
file holds `semples_token_rows` (R,) int64, ascending: row i of the cut table is row `semples_token_rows[i]` of the full
one. The other rows are taken from `seeded_token_table`, so a model whose table was frozen at that very table comes back
bit for bit, and any other model comes back exactly for texts of the stored tokens.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from semples_cli.engine.model_dir import UNKNOWN_LICENCE, ModelDir, write_model_dir
from semples_cli.errors import EngineError

TABLE = "token_embedding.weight"
ROWS = "semples_token_rows"
TABLE_SEED = 0
TABLE_STD = 0.02


def seeded_token_table(vocab_size: int, width: int) -> torch.Tensor:
    """(vocab_size, width) float32 from N(0, 0.02²), open_clip's own initial distribution.

    Drawn by numpy: torch's normal generator takes other code paths, with other last bits, on other processors.
    """
    table = np.random.default_rng(TABLE_SEED).standard_normal((vocab_size, width), dtype=np.float32)
    return torch.from_numpy(table * np.float32(TABLE_STD))


def save_compact_model_dir(
    model: nn.Module,
    config: Mapping[str, Any],
    token_rows: Iterable[int],
    folder: Path,
    *,
    licence: str = UNKNOWN_LICENCE,
) -> None:
    """Write a model directory with a cut token table.

    Args:
        model: An open_clip CLIP made from `config`.
        config: open_clip's `model_cfg`.
        token_rows: Token ids to keep; start and end of text and padding (49406, 49407, 0) belong to every text.
        folder: Directory to write; its name becomes the model's name.
        licence: Licence of the weights.

    Raises:
        EngineError: A token id lies outside the table.
    """
    state = dict(model.state_dict())
    rows = torch.tensor(sorted(set(token_rows)), dtype=torch.int64)
    if not len(rows) or rows[0] < 0 or rows[-1] >= len(state[TABLE]):
        msg = f"{folder}: token ids to keep must lie in 0..{len(state[TABLE]) - 1}, and there must be some"
        raise EngineError(msg)
    state |= {TABLE: state[TABLE][rows], ROWS: rows}
    write_model_dir(ModelDir(folder, dict(config), licence=licence), state)


def expand_token_table(state: dict[str, torch.Tensor], vocab_size: int) -> dict[str, torch.Tensor]:
    """The state dict with its full token table; one without `semples_token_rows` is returned as it is.

    Args:
        state: State dict as stored.
        vocab_size: Rows of the full table.

    Raises:
        EngineError: Rows and table do not go together.
    """
    if ROWS not in state:
        return state
    rest = {name: tensor for name, tensor in state.items() if name != ROWS}
    rows, kept = state[ROWS], state.get(TABLE, torch.empty(0, 0))
    if rows.shape != kept.shape[:1] or not len(rows) or rows.min() < 0 or rows.max() >= vocab_size:
        msg = (
            f"the stored token rows do not fit: {len(rows)} ids for a table of {len(kept)} rows, ids below {vocab_size}"
        )
        raise EngineError(msg)
    table = seeded_token_table(vocab_size, kept.shape[1])
    table[rows] = kept.float()
    return {**rest, TABLE: table}
