"""The state of an interrupted training: whole or absent, of this training alone, and a disk that fails is said."""

import pytest
import torch

from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.errors import ArtifactError, UnwritableError

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "deep/g.state", "these images")


def test_what_is_stored_comes_back(checkpoint):
    assert checkpoint.restore(CPU) is None
    checkpoint.store({"step": 3, "weights": {"a": torch.arange(3.0)}, "losses": [0.5]})
    state = checkpoint.restore(CPU)
    assert (state["step"], state["losses"], state["weights"]["a"].tolist()) == (3, [0.5], [0, 1, 2])
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["g.state"]


def test_that_of_another_training_is_not_taken_up(checkpoint):
    checkpoint.store({"step": 3})
    assert Checkpoint(checkpoint.path, "other images").restore(CPU) is None


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_torn_state_is_refused_with_its_cure(checkpoint, size):
    checkpoint.store({"step": 3})
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:size])
    with pytest.raises(ArtifactError, match=r"g\.state: the interrupted training's state cannot be read .*delete it"):
        checkpoint.restore(CPU)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("[enforce fail] unexpected pos 576 vs 534\nmore"), r"unexpected pos 576 vs 534\)"),
    ],
)
def test_a_disk_that_fails_leaves_the_state_before(checkpoint, monkeypatch, error, said):
    checkpoint.store({"step": 3})

    def fail(state, path):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UnwritableError, match=rf"g\.state: the state .* cannot be written \(.*{said}.*make room"):
        checkpoint.store({"step": 4})
    monkeypatch.undo()
    assert checkpoint.restore(CPU)["step"] == 3
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["g.state"]


def test_ctrl_c_while_it_is_written_leaves_nothing_torn(checkpoint, monkeypatch):
    def interrupt(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.store({"step": 4})
    assert list(checkpoint.path.parent.iterdir()) == []
