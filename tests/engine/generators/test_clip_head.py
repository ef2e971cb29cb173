"""The head against an account in float64 numpy that builds every attention map; gradients; what may be asked for."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from semples_cli.config import GeneratorSettings
from semples_cli.engine.generators import fusion as fusion_module
from semples_cli.engine.generators.clip_head import ClipGenerator, ClipHead, build_clip_head
from semples_cli.engine.generators.fusion import BACKWARD_SLOPE, AttentionFusion, rectify, spread
from semples_cli.engine.tower_features import TowerFeatures

LAYERS, BATCH, HEADS, DIM, GRID = 3, 2, 2, 6, (3, 4)
PATCHES, WIDTH = GRID[0] * GRID[1], HEADS * DIM


def features_of(seed, dtype=torch.float32):
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random).to(dtype)

    return TowerFeatures(
        draw(BATCH, PATCHES, WIDTH),
        draw(LAYERS, BATCH, HEADS, PATCHES, DIM),
        draw(LAYERS, BATCH, HEADS, 1 + PATCHES, DIM),
        draw(BATCH, LAYERS, HEADS, DIM),
        GRID,
    )


def head_of(num_classes, seed=0, reduction=2, residual=0.0):
    torch.manual_seed(seed)
    return ClipHead(WIDTH, LAYERS, HEADS, num_classes, reduction, residual=residual)


def plain_account(head, features):
    """Coarse and fine maps by loops over images, layers, heads and pixels."""
    numbers = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in head.state_dict().items()}
    arrays = {
        name: getattr(features, name).numpy().astype(np.float64)
        for name in ("patches", "queries", "keys", "head_features")
    }
    h, w = GRID
    coarse = np.zeros((BATCH, head.num_classes, h, w))
    fine = np.zeros_like(coarse)
    for b in range(BATCH):
        padded = np.zeros((h + 2, w + 2, WIDTH))
        padded[1:-1, 1:-1] = arrays["patches"][b].reshape(h, w, WIDTH)
        for i in range(h):
            for j in range(w):
                window = padded[i : i + 3, j : j + 3].transpose(2, 0, 1)
                coarse[b, :, i, j] = (numbers["head.weight"] * window).sum((1, 2, 3)) + numbers["head.bias"]
        scores = []
        for head_index in range(HEADS):
            for layer in range(LAYERS):
                hidden = numbers["fusion.feature_score.0.weight"] @ arrays["head_features"][b, layer, head_index]
                hidden = hidden + numbers["fusion.feature_score.0.bias"]
                scores.append(
                    (numbers["fusion.feature_score.1.weight"] @ hidden + numbers["fusion.feature_score.1.bias"])[0]
                )
        hidden = np.maximum(numbers["fusion.map_weight.0.weight"] @ np.array(scores), 0)
        weights = 1 / (1 + np.exp(-numbers["fusion.map_weight.2.weight"] @ hidden))
        fused = np.zeros((PATCHES, PATCHES))
        for layer in range(LAYERS):
            for head_index in range(HEADS):
                raw = np.exp(arrays["queries"][layer, b, head_index] @ arrays["keys"][layer, b, head_index].T)
                attention = raw / raw.sum(axis=1, keepdims=True)
                fused += weights[head_index * LAYERS + layer] * attention[:, 1:]
        maps = np.maximum(coarse[b], 0).reshape(head.num_classes, PATCHES)
        fused = fused / (LAYERS * HEADS) + head.residual * np.eye(PATCHES)
        fine[b] = (maps @ fused.T).reshape(-1, h, w)
    return coarse, fine


@pytest.mark.parametrize("num_classes", [1, 5, 6, 7, 20])  # fewer and more than the heads are wide
def test_maps_equal_an_account_that_builds_every_attention_map(num_classes):
    head, features = head_of(num_classes), features_of(1)
    maps = head(features)
    coarse, fine = plain_account(head, features)
    np.testing.assert_allclose(maps.coarse.detach(), coarse, atol=1e-5)
    np.testing.assert_allclose(maps.fine.detach(), fine, atol=1e-6)
    assert maps.fine.max() > 0


@pytest.mark.parametrize("residual", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("kept", [0, fusion_module.KEPT_ATTENTION])
def test_in_float64_the_account_is_met_to_the_last_digits(monkeypatch, residual, kept):
    monkeypatch.setattr(fusion_module, "KEPT_ATTENTION", kept)  # 0: attention maps are never built
    head, features = head_of(5, residual=residual).double(), features_of(1, torch.float64)
    maps = head(features)
    coarse, fine = plain_account(head, features)
    np.testing.assert_allclose(maps.coarse.detach(), coarse, atol=1e-13)
    np.testing.assert_allclose(maps.fine.detach(), fine, atol=1e-13)


def test_some_classes_are_those_of_all():
    head, features = head_of(5), features_of(1)
    columns = torch.tensor([[3, 0], [1, 1]])
    whole, some = head(features), head(features, columns)
    assert some.fine.shape == (BATCH, 2, *GRID)
    for b, row in enumerate(columns):
        torch.testing.assert_close(some.fine[b], whole.fine[b, row])
    torch.testing.assert_close(some.coarse, whole.coarse)


def test_fusion_gives_one_weight_for_each_layer_and_head():
    fusion = AttentionFusion(DIM, LAYERS, HEADS, reduction=8)  # 6 maps reduced by 8: one hidden unit is left
    weights = fusion(features_of(2).head_features)
    assert weights.shape == (BATCH, LAYERS, HEADS)
    assert ((weights > 0) & (weights < 1)).all()
    assert sum(p.numel() for p in fusion.parameters()) == (DIM + 1) + (1 + 1) + 6 + 6


def test_spreading_never_adds_to_a_map():
    features = features_of(3)
    maps = torch.rand(BATCH, PATCHES, 2, generator=torch.Generator().manual_seed(0))
    result = spread(maps, features.queries, features.keys, torch.ones(BATCH, LAYERS, HEADS))
    assert (result.amax(dim=1) < maps.amax(dim=1)).all()  # the class token takes its part
    assert (result > 0).all()


@pytest.mark.parametrize("kept", [0, fusion_module.KEPT_ATTENTION])
def test_gradients_of_spreading_are_right(monkeypatch, kept):
    monkeypatch.setattr(fusion_module, "KEPT_ATTENTION", kept)
    features = features_of(4, torch.float64)
    maps = torch.rand(BATCH, PATCHES, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(BATCH, LAYERS, HEADS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, w: spread(m, features.queries, features.keys, w), (maps, weights))


def test_attention_maps_are_built_for_small_training_steps_only(monkeypatch):
    features, built = features_of(5), []
    plain = fusion_module._spread_by_built
    monkeypatch.setattr(fusion_module, "_spread_by_built", lambda *a: built.append(1) or plain(*a))
    maps = torch.rand(BATCH, PATCHES, 2, generator=torch.Generator().manual_seed(0))
    arguments = (features.queries, features.keys, torch.ones(BATCH, LAYERS, HEADS))
    first = spread(maps, *arguments)
    with torch.no_grad():
        spread(maps.clone().requires_grad_(), *arguments)
    monkeypatch.setattr(fusion_module, "KEPT_ATTENTION", LAYERS * BATCH * HEADS * PATCHES**2 * 4 - 1)
    spread(maps.clone().requires_grad_(), *arguments)
    assert built == []
    monkeypatch.setattr(fusion_module, "KEPT_ATTENTION", LAYERS * BATCH * HEADS * PATCHES**2 * 4)
    second = spread(maps.clone().requires_grad_(), *arguments)
    assert len(built) == LAYERS
    torch.testing.assert_close(first, second.detach())


def test_what_the_relu_cuts_keeps_a_share_of_its_gradient():
    values = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    result = rectify(values)
    assert result.tolist() == [0.0, 0.0, 3.0]
    (result * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([BACKWARD_SLOPE, 2 * BACKWARD_SLOPE, 4.0]))


def test_a_class_without_any_map_comes_back():
    head, features = head_of(2, residual=1.0), features_of(6)
    with torch.no_grad():
        head.head.bias.copy_(torch.tensor([-50.0, 1.0]))
    assert head(features).fine[:, 0].max() == 0
    optimiser = torch.optim.Adam(head.parameters(), lr=1.0)
    for _ in range(100):
        optimiser.zero_grad()
        (-head(features).fine[:, 0].mean()).backward()
        optimiser.step()
    assert head(features).fine[:, 0].max() > 0


def test_gradients_of_the_fusion_are_right():
    torch.manual_seed(0)
    fusion = AttentionFusion(DIM, LAYERS, HEADS, reduction=2).double()
    features = torch.randn(BATCH, LAYERS, HEADS, DIM, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fusion, (features,))


def test_gradients_reach_head_and_fusion_and_nothing_else(tiny_engine):
    generator = ClipGenerator(tiny_engine, build_clip_head(tiny_engine, 3, GeneratorSettings(reduction=2)))
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    maps = generator.class_maps(pixels)
    (maps.coarse.mean() + maps.fine.sum()).backward()
    assert pixels.grad is None
    assert all(parameter.grad is None for parameter in tiny_engine.model.parameters())
    for name, parameter in generator.network.named_parameters():
        assert parameter.grad is not None, name
    assert generator.network.head.weight.grad.abs().max() > 0
    assert generator.network.fusion.map_weight[2].weight.grad.abs().max() > 0


def test_a_generator_works_at_any_grid(tiny_engine):
    generator = ClipGenerator(tiny_engine, build_clip_head(tiny_engine, 3, GeneratorSettings()))
    maps = generator.class_maps(torch.zeros(1, 3, 24, 40))
    assert maps.coarse.shape == maps.fine.shape == (1, 3, 3, 5)


def test_the_seed_gives_the_first_weights_and_leaves_torch_s_own_state_alone(tiny_engine):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first, second, other = (
        build_clip_head(tiny_engine, 3, GeneratorSettings(seed=seed)).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_an_untrained_head_spreads_what_a_plain_convolution_says(tiny_engine):
    """One patch alone: its attention is a number, so that fine is the ReLU of coarse times that number."""
    generator = ClipGenerator(tiny_engine, build_clip_head(tiny_engine, 4, GeneratorSettings()))
    maps = generator.class_maps(torch.ones(1, 3, 8, 8))
    ratio = maps.fine[maps.coarse > 0] / maps.coarse[maps.coarse > 0]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert (maps.fine[maps.coarse <= 0] == 0).all()
    torch.testing.assert_close(functional.relu(maps.coarse) * ratio[0], maps.fine)
