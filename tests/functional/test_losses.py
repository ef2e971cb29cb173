"""The losses against a float64 numpy account written apart, their gradients, and what bounds and empty batches do."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semples_cli.errors import SettingsError
from semples_cli.functional.losses import (
    FLOOR,
    matching_loss,
    prompt_loss,
    pull_loss,
    push_loss,
    refinement_loss,
    similarity,
)

COSINES = arrays(np.float64, st.integers(1, 9), elements=st.floats(-1, 1))
WEIGHT = st.floats(0, 5)


def bounded(cosine, mapping):
    """One cosine as the number in the logarithms, by the page: clamped, or mapped to [0, 1] and then clamped."""
    value = cosine if mapping == "clamp" else 0.5 * cosine + 0.5
    return min(max(value, 0.0001), 0.9999)


def account(terms):
    """Mean over pairs of weighted logarithms: (weight, of the similarity or of what it lacks to 1, similarities)."""
    total = 0.0
    for weight, of_rest, values in terms:
        logs = [math.log(1.0 - value if of_rest else value) for value in values]
        total += weight * sum(logs) / len(logs)
    return total


@pytest.mark.parametrize("mapping", ["clamp", "half"])
@given(cosines=COSINES)
def test_similarity_is_the_account_of_it(mapping, cosines):
    ours = similarity(torch.from_numpy(cosines), mapping).numpy()
    np.testing.assert_allclose(ours, [bounded(c, mapping) for c in cosines], atol=1e-15)
    assert ours.min() >= FLOOR
    assert ours.max() <= 1 - FLOOR


@pytest.mark.parametrize("mapping", ["clamp", "half"])
@given(cosines=COSINES, seed=st.integers(0, 9), weight=WEIGHT)
def test_every_loss_is_the_account_of_it(mapping, cosines, seed, weight):
    others = np.random.default_rng(seed).uniform(-1, 1, len(cosines))
    one, other = (similarity(torch.from_numpy(values), mapping) for values in (cosines, others))
    a, b = ([bounded(c, mapping) for c in values] for values in (cosines, others))
    expected = {
        "match": account([(-1, False, a), (-weight, True, b)]),
        "log-s": account([(-1, False, a), (weight, False, b)]),
        "log-one-minus-s": account([(-1, False, a), (-weight, True, b)]),
        "refine": account([(-1, True, a)]),
    }
    ours = {
        "match": matching_loss(one, other, weight),
        "log-s": prompt_loss(one, other, weight, "log-s"),
        "log-one-minus-s": prompt_loss(one, other, weight, "log-one-minus-s"),
        "refine": refinement_loss(one),
    }
    for name, value in expected.items():
        assert ours[name].dtype == torch.float64
        assert ours[name].item() == pytest.approx(value, rel=1e-12, abs=1e-12), name


def test_by_hand():
    half = torch.tensor([0.5, 0.25])
    assert pull_loss(half).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert push_loss(half).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


@pytest.mark.parametrize("mapping", ["clamp", "half"])
@pytest.mark.parametrize(
    "loss",
    [
        lambda one, other: matching_loss(one, other, 2.4),
        lambda one, other: prompt_loss(one, other, 0.02, "log-s"),
        lambda one, other: prompt_loss(one, other, 0.3, "log-one-minus-s"),
        lambda one, other: refinement_loss(one) + 0 * other.sum(),
    ],
    ids=["matching", "log-s", "log-one-minus-s", "refinement"],
)
def test_gradients_are_those_of_finite_differences(loss, mapping):
    drawn = np.random.default_rng(0).uniform(0.05, 0.95, (2, 5))  # inside the bounds, where there is a gradient
    cosines = [torch.tensor(values, requires_grad=True) for values in drawn]
    assert torch.autograd.gradcheck(lambda a, b: loss(similarity(a, mapping), similarity(b, mapping)), cosines)


def gradient_at(cosine, mapping):
    leaf = torch.tensor([cosine], requires_grad=True)
    pull_loss(similarity(leaf, mapping)).backward()
    return leaf.grad.item()


def test_a_negative_cosine_has_a_gradient_with_half_and_none_with_clamp():
    assert gradient_at(-0.2, "clamp") == 0
    assert gradient_at(-0.2, "half") == pytest.approx(-0.5 / 0.4)
    assert gradient_at(0.2, "clamp") == pytest.approx(-1 / 0.2)


@pytest.mark.parametrize("cosine", [-1.0, 1.0])
@pytest.mark.parametrize("mapping", ["clamp", "half"])
def test_the_extremes_are_finite_and_flat(cosine, mapping):
    value = similarity(torch.tensor([cosine]), mapping)
    for loss in (pull_loss(value), push_loss(value)):
        assert 0 <= loss.item() <= -math.log(FLOOR) + 1e-3
    assert gradient_at(cosine, mapping) == 0


def test_what_each_term_wants():
    """Descent raises the similarity to the background, and lowers that to the class, in both readings."""
    for repulsion in ("log-s", "log-one-minus-s"):
        background, label = (torch.tensor([0.4], requires_grad=True) for _ in range(2))
        prompt_loss(background, label, 0.3, repulsion).backward()
        assert background.grad.item() < 0 < label.grad.item()
    foreground = torch.tensor([0.4], requires_grad=True)
    refinement_loss(foreground).backward()
    assert foreground.grad.item() > 0


def test_without_lambda_the_second_term_is_gone():
    background, label = torch.tensor([0.3]), torch.tensor([0.9])
    assert prompt_loss(background, label, 0.0, "log-s") == pull_loss(background)
    assert matching_loss(background, label, 0.0) == pull_loss(background)


def test_a_batch_without_any_pair_is_0_and_keeps_its_graph():
    empty = torch.empty(0, requires_grad=True)
    loss = matching_loss(empty, empty, 2.4) + prompt_loss(empty, empty, 0.3, "log-s") + refinement_loss(empty)
    loss.backward()
    assert loss.item() == 0
    assert empty.grad.shape == (0,)


def test_other_names_are_refused():
    with pytest.raises(SettingsError, match="similarity 'cosine': choose clamp or half"):
        similarity(torch.zeros(1), "cosine")
    with pytest.raises(SettingsError, match="repulsion 'log': choose log-s or log-one-minus-s"):
        prompt_loss(torch.ones(1), torch.ones(1), 1.0, "log")
