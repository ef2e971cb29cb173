"""The sigmoid loss against a plain account, its gradient, and a training that resumes to the same weights."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.contrastive import (
    CaptionBatch,
    ContrastiveSettings,
    _learning_rate,
    sigmoid_loss,
    train_contrastive,
)
from semples_cli.errors import ArtifactError


class TwoTowers(nn.Module):
    """The least that `train_contrastive` needs of a CLIP."""

    def __init__(self):
        super().__init__()
        self.image = nn.Linear(12, 4)
        self.token_embedding = nn.Embedding(7, 5)
        self.text = nn.Linear(5, 4)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        self.logit_bias = nn.Parameter(torch.tensor(-1.0))

    def encode_image(self, pixels, normalize):
        assert normalize
        return nn.functional.normalize(self.image(pixels.flatten(1)), dim=-1)

    def encode_text(self, tokens, normalize):
        assert normalize
        return nn.functional.normalize(self.text(self.token_embedding(tokens).mean(1)), dim=-1)


def draw_batch(step, rng):
    return CaptionBatch(
        torch.from_numpy(rng.standard_normal((6, 3, 2, 2), dtype=np.float32)),
        torch.from_numpy(rng.integers(0, 7, (5, 3))),
        torch.from_numpy(rng.choice([-1.0, 0.0, 1.0], (6, 5)).astype(np.float32)),
    )


def make_model():
    torch.manual_seed(3)
    return TwoTowers()


def train(tmp_path, model, steps, draw=draw_batch, name="state.ckpt", fingerprint="f"):
    settings = ContrastiveSettings(steps, warm_up=4, seed=1)
    checkpoint = Checkpoint(tmp_path / name, fingerprint, every=5)
    return train_contrastive(model, draw, settings, checkpoint, lambda done, total: None)


def test_loss_equals_a_plain_float64_account():
    rng = np.random.default_rng(0)
    logits, signs = rng.standard_normal((4, 6)) * 5, rng.choice([-1, 0, 1], (4, 6))
    expected = sum(math.log1p(math.exp(-z * s)) for z, s in zip(logits.ravel(), signs.ravel(), strict=True) if s) / len(
        logits
    )
    assert sigmoid_loss(torch.tensor(logits), torch.tensor(signs)).item() == pytest.approx(expected, rel=1e-12)


def test_loss_by_hand():
    loss = sigmoid_loss(torch.tensor([[0.0, 3.0], [0.0, -3.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert loss.item() == pytest.approx(math.log(2))


def test_undecided_pairs_get_no_gradient():
    logits = torch.tensor([[0.3, -0.2]], requires_grad=True)
    sigmoid_loss(logits, torch.tensor([[0.0, 1.0]])).backward()
    assert logits.grad[0, 0] == 0
    assert logits.grad[0, 1] < 0


def test_loss_passes_gradcheck():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    signs = torch.tensor([[1, -1, 0, 1], [0, 0, -1, 1], [1, 1, -1, -1]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: sigmoid_loss(z, signs), logits)


def test_learning_rate_warms_up_and_falls_to_zero():
    settings = ContrastiveSettings(100, learning_rate=1.0, warm_up=10)
    rates = [_learning_rate(settings, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9])
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert rates[100] == pytest.approx(0)


def test_training_lowers_the_loss_and_leaves_the_token_table_alone(tmp_path):
    model = make_model()
    table = model.token_embedding.weight.detach().clone()
    fixed = draw_batch(0, np.random.default_rng(5))
    losses = train(tmp_path, model, 60, lambda step, rng: fixed)
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(model.token_embedding.weight, table)
    assert not model.training


def test_an_interrupted_training_resumes_to_the_same_weights(tmp_path):
    whole = make_model()
    losses = train(tmp_path, whole, 12, name="whole.ckpt")

    def interrupted(step, rng):
        if step == 8:
            raise KeyboardInterrupt
        return draw_batch(step, rng)

    halves = make_model()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, halves, 12, interrupted)
    resumed = make_model()
    assert train(tmp_path, resumed, 12) == losses
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_state_of_another_training_is_not_taken_up(tmp_path):
    seen = []
    train(tmp_path, make_model(), 6)

    def draw(step, rng):
        seen.append(step)
        return draw_batch(step, rng)

    train(tmp_path, make_model(), 6, draw, fingerprint="another")
    assert seen == list(range(6))


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / "state.ckpt").write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="delete it to train anew"):
        train(tmp_path, make_model(), 6)


def test_progress_counts_every_step(tmp_path):
    seen = []
    settings = ContrastiveSettings(3, warm_up=1)
    checkpoint = Checkpoint(tmp_path / "c", "")
    train_contrastive(make_model(), draw_batch, settings, checkpoint, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
