import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semples_cli.errors import SettingsError
from semples_cli.functional.cam import average_maps, class_margins, grad_cam, min_max

TRUE = torch.tensor([[True, True, True]])


def gradient_of(score, logits):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(score(logits).sum(), logits)[0]


def test_margin_by_hand():
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    expected = 1 - math.log(math.exp(2) + math.exp(3))
    torch.testing.assert_close(class_margins(logits, TRUE, torch.tensor([0])), torch.tensor([expected]))


def test_margin_is_the_log_odds_of_the_softmax():
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 5, 2, 3])
    probability = logits.softmax(1)[range(4), targets]
    margins = class_margins(logits, torch.ones(4, 6, dtype=torch.bool), targets)
    torch.testing.assert_close(margins, torch.log(probability / (1 - probability)))


def test_gradient_is_the_softmax_gradient_over_p_one_minus_p():
    logits = torch.tensor([[0.3, -0.2, 0.9]], dtype=torch.float64)
    probability = logits.softmax(1)[0, 2]
    ours = gradient_of(lambda z: class_margins(z, TRUE, torch.tensor([2])), logits)
    theirs = gradient_of(lambda z: z.softmax(1)[:, 2], logits)
    torch.testing.assert_close(ours, theirs / (probability * (1 - probability)))


def test_gradient_does_not_vanish_where_the_softmax_saturates():
    logits = torch.tensor([[200.0, 0.0, 1.0]])
    assert (gradient_of(lambda z: z.softmax(1)[:, 0], logits) == 0).all()
    ours = gradient_of(lambda z: class_margins(z, TRUE, torch.tensor([0])), logits)
    share = 1 / (1 + math.e)
    torch.testing.assert_close(ours, torch.tensor([[1.0, -share, share - 1]]))


def test_absent_classes_do_not_compete():
    logits = torch.tensor([[1.0, 50.0, 3.0]])
    competing = torch.tensor([[True, False, True]])
    torch.testing.assert_close(class_margins(logits, competing, torch.tensor([0])), torch.tensor([-2.0]))
    assert gradient_of(lambda z: class_margins(z, competing, torch.tensor([0])), logits)[0, 1] == 0


def test_a_target_alone_is_its_logit_with_a_finite_gradient():
    logits = torch.tensor([[4.0, 1.0], [4.0, 1.0]])
    competing = torch.tensor([[True, False], [True, True]])
    targets = torch.tensor([0, 0])
    assert class_margins(logits, competing, targets).tolist() == [4.0, 3.0]
    gradient = gradient_of(lambda z: class_margins(z, competing, targets), logits)
    assert gradient.tolist() == [[1.0, 0.0], [1.0, -1.0]]


def test_margins_have_right_gradients():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    competing = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]]).bool()
    assert torch.autograd.gradcheck(lambda z: class_margins(z, competing, torch.tensor([0, 1, 3])), (logits,))


def test_grad_cam_by_hand():
    activations = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]])
    gradients = torch.tensor([[[3.0, 0.0], [0.0, -6.0], [0.0, 0.0]]])  # means: 1 and -2
    assert grad_cam(activations, gradients.mean(1)).tolist() == [[1.0, 0.0, 0.0]]


def test_grad_cam_of_an_image_and_a_score_does_not_depend_on_the_others():
    generator = torch.Generator().manual_seed(0)
    activations, weights = torch.randn(3, 5, 4, generator=generator), torch.randn(2, 3, 4, generator=generator)
    together = grad_cam(activations, weights)
    assert together.shape == (2, 3, 5)
    for k in range(2):
        for b in range(3):
            torch.testing.assert_close(together[k, b], grad_cam(activations[b : b + 1], weights[k, b : b + 1])[0])


def test_min_max_by_hand_with_and_without_eps():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[-3.0, -3.0], [-3.0, -1.0]]])
    assert min_max(maps).tolist() == [[[0.0, 0.25], [0.5, 1.0]], [[0.0, 0.0], [0.0, 1.0]]]
    torch.testing.assert_close(min_max(maps, eps=1.0)[0], maps[0] / 5)


def test_a_constant_map_becomes_zero():
    assert (min_max(torch.full((2, 3, 3), 7.0)) == 0).all()
    assert min_max(torch.zeros(0, 2, 2)).shape == (0, 2, 2)
    assert min_max(torch.ones(1, 1, 1)).tolist() == [[[0.0]]]


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=6, max_size=6),
    st.floats(0.125, 1000),
    st.floats(-10, 10),
)
def test_min_max_is_in_range_and_blind_to_scale(values, factor, shift):
    maps = torch.tensor(values, dtype=torch.float64).reshape(1, 2, 3)
    stretched = min_max(maps)
    assert stretched.min() == 0
    assert stretched.max() in (0, 1)
    if maps.max() - maps.min() > 1e-3:
        torch.testing.assert_close(min_max(maps * factor + shift), stretched, rtol=0, atol=1e-5)


def test_average_by_hand():
    row = torch.tensor([[[0.0, 1.0]]])
    average = average_maps([row, torch.tensor([[[0.0, 0.0, 4.0, 4.0]]])], (1, 4))
    np.testing.assert_allclose(average[0, 0], [0.0, 0.125, 2.375, 2.5])  # 0, .25, .75, 1 of the resized row


def test_average_of_one_map_on_its_own_grid_is_the_map():
    maps = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(average_maps([maps], (3, 5)), maps)


def test_average_of_no_map_is_refused():
    with pytest.raises(SettingsError, match=r"^no map to average: give at least one scale$"):
        average_maps([], (2, 2))
