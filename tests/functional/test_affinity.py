import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semples_cli.functional.affinity import Affinity, box_mask, propagate


def random_attention(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.01


def dense(attention):
    """The whole matrix."""
    return Affinity(attention) @ torch.eye(len(attention), dtype=attention.dtype)


def test_affinity_of_two_patches_by_hand():
    # Columns first: [[1/2, 1/4], [1/2, 3/4]]; then rows: [[2/3, 1/3], [2/5, 3/5]]; and so on, three rounds.
    attention = torch.tensor([[1.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    a = np.array([[1.0, 1.0], [1.0, 3.0]])
    for _ in range(3):
        a = np.array([[a[0, 0] / (a[0, 0] + a[1, 0]), a[0, 1] / (a[0, 1] + a[1, 1])],
                      [a[1, 0] / (a[0, 0] + a[1, 0]), a[1, 1] / (a[0, 1] + a[1, 1])]])  # fmt: skip
        a = np.array([[a[0, 0] / (a[0, 0] + a[0, 1]), a[0, 1] / (a[0, 0] + a[0, 1])],
                      [a[1, 0] / (a[1, 0] + a[1, 1]), a[1, 1] / (a[1, 0] + a[1, 1])]])  # fmt: skip
    off_diagonal = (a[0, 1] + a[1, 0]) / 2
    expected = torch.tensor([[a[0, 0], off_diagonal], [off_diagonal, a[1, 1]]])
    torch.testing.assert_close(dense(attention), expected)


def test_each_round_starts_with_the_columns():
    # Both orders agree on the limit, but not after three rounds.
    attention = torch.tensor([[8.0, 1.0], [3.0, 0.1]], dtype=torch.float64)
    rows_first = attention
    for _ in range(3):
        rows_first = rows_first / rows_first.sum(-1, keepdim=True)
        rows_first = rows_first / rows_first.sum(-2, keepdim=True)
    ours = dense(attention)
    assert not torch.allclose(ours, (rows_first + rows_first.T) / 2, rtol=0, atol=1e-9)
    assert torch.allclose(ours.sum(-1), torch.ones(2, dtype=torch.float64), rtol=0, atol=0.02)


def test_affinity_is_symmetric_and_nearly_stochastic():
    affinity = dense(random_attention(7, 7))
    torch.testing.assert_close(affinity, affinity.T)
    torch.testing.assert_close(affinity.sum(-1), torch.ones(7, dtype=torch.float64), rtol=0, atol=0.02)


def test_scales_find_what_dividing_the_matrix_finds():
    attention = divided = random_attention(50, 50)
    for _ in range(3):
        divided = divided / divided.sum(0, keepdim=True)
        divided = divided / divided.sum(1, keepdim=True)
    torch.testing.assert_close(dense(attention), (divided + divided.T) / 2, rtol=1e-12, atol=0)


def test_affinity_leaves_its_input_alone():
    attention = random_attention(4, 4)
    before = attention.clone()
    dense(attention)
    assert torch.equal(attention, before)


def test_boxes_by_hand():
    scores = np.float32(
        [
            [0.9, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.8, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.4],
            [0.0, 0.0, 0.0, 0.7, 0.0],
            [0.0, 0.0, 0.0, 0.7, 0.6],
        ]
    )
    expected = [
        [1, 1, 0, 0, 0],  # the diagonal pair is one component, its box holds all four patches
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],  # 0.4 is not above 0.4
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],
    ]
    assert box_mask(scores, 0.4).astype(int).tolist() == expected
    assert box_mask(scores, 0.4).dtype == bool


def test_a_hollow_component_fills_its_box():
    scores = np.ones((4, 5), np.float32)
    scores[1:3, 1:4] = 0
    assert box_mask(scores, 0.5).all()


@pytest.mark.parametrize("scores", [np.zeros((3, 2), np.float32), np.full((1, 1), 0.5, np.float32)])
def test_nothing_above_the_threshold_is_no_box(scores):
    assert not box_mask(scores, 0.5).any()


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 1, width=32)))
def test_boxes_hold_every_patch_above_the_threshold(scores):
    mask = box_mask(scores, 0.5)
    assert mask[scores > 0.5].all()
    assert mask.any() == (scores > 0.5).any()


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_propagation_equals_the_matrix_form(steps):
    affinity = Affinity(random_attention(12, 12))
    maps = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = propagate(maps, affinity, steps=steps, box_threshold=0.6)
    power = torch.linalg.matrix_power(dense(random_attention(12, 12)), 2**steps)
    for k in range(2):
        columns = torch.from_numpy(box_mask(maps[k].float().numpy(), 0.6)).flatten()
        refined = (power * columns[None, :].double()) @ maps[k].flatten()
        expected = ((refined - refined.min()) / (refined.max() - refined.min())).reshape(3, 4)
        torch.testing.assert_close(ours[k], expected, rtol=0, atol=1e-9)


def test_propagation_by_hand():
    # Patches 0 and 1 look at each other, patch 2 at itself; only patch 0 is above the threshold.
    affinity = Affinity(torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    maps = torch.tensor([[[1.0, 0.0, 0.3]]])
    assert propagate(maps, affinity, steps=1, box_threshold=0.4).tolist() == [[[1.0, 1.0, 0.0]]]


def test_a_map_with_nothing_above_the_threshold_becomes_zero():
    maps = torch.tensor([[[0.1, 0.2]], [[1.0, 0.0]]])
    spread = propagate(maps, Affinity(torch.eye(2)), steps=1, box_threshold=0.4)
    assert spread.tolist() == [[[0.0, 0.0]], [[1.0, 0.0]]]


def test_one_patch():
    assert propagate(torch.ones(1, 1, 1), Affinity(torch.ones(1, 1)), steps=1, box_threshold=0.4).tolist() == [[[0.0]]]


def test_the_affinity_s_precision_is_used_and_the_map_s_dtype_kept():
    maps = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    affinity = Affinity(1 + 1e-5 * random_attention(16, 16))  # almost uniform: float32 would be mostly noise
    spread = propagate(maps, affinity, steps=0, box_threshold=0.0)
    assert spread.dtype == torch.float32
    exact = propagate(maps.double(), affinity, steps=0, box_threshold=0.0)
    torch.testing.assert_close(spread.double(), exact, rtol=0, atol=1e-6)


def test_products_are_of_the_affinity_s_dtype_where_that_is_coarser_too():
    maps = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    attention = random_attention(16, 16) + 20 * torch.eye(16)  # far from uniform: bfloat16 tells the patches apart
    spread = propagate(maps, Affinity(attention.bfloat16()), steps=1, box_threshold=0.4)
    assert spread.dtype == torch.float32
    exact = propagate(maps, Affinity(attention), steps=1, box_threshold=0.4)
    torch.testing.assert_close(spread, exact, rtol=0, atol=0.1)
