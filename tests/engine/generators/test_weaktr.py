"""WeakTr against timm's own ViT and a float64 account that builds every attention map; gradients; sizes; freezing."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional

from semples_cli.config import VITS, GeneratorSettings
from semples_cli.engine.generators import fusion as fusion_module
from semples_cli.engine.generators.weaktr import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    WeakTr,
    WeakTrGenerator,
    build_weaktr,
    resize_positions,
)
from semples_cli.engine.tower_features import DropPath

CLASSES, LAYERS, HEADS, WIDTH, PATCH, SIDE = 3, 2, 2, 12, 8, 24
GRID = SIDE // PATCH
PATCHES = GRID**2


def network_of(seed=0, pooling="max", residual=0.0, reduction=2):
    torch.manual_seed(seed)
    network = WeakTr(PATCH, WIDTH, LAYERS, HEADS, SIDE, CLASSES, reduction, pooling, residual)
    with torch.no_grad():  # a fresh ViT attends evenly; larger weights make every part of the account count
        for name, parameter in network.named_parameters():
            if "qkv" in name or "reg_token" in name or "pos_embed" in name:
                parameter.copy_(torch.randn(parameter.shape))
    return network


def images(batch=2, size=(SIDE, SIDE), dtype=torch.float32):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1)).to(dtype)


def by_hooks(network, pixels):
    """timm's own forward pass, with what a reader of attention maps hooks: tokens, maps and attention outputs."""
    vit, maps, outputs = network.vit, [], []

    def keep(module, inputs, output):
        (tokens,) = inputs
        batch, count, width = tokens.shape
        qkv = module.qkv(tokens).reshape(batch, count, 3, module.num_heads, -1).permute(2, 0, 3, 1, 4)
        maps.append((qkv[0] @ qkv[1].transpose(-1, -2) / math.sqrt(width // module.num_heads)).softmax(-1))
        outputs.append(output)

    handles = [block.attn.register_forward_hook(keep) for block in vit.blocks]
    tokens = vit.forward_features(pixels)
    for handle in handles:
        handle.remove()
    return tokens, torch.stack(maps), torch.stack(outputs)


def plain_account(network, pixels):
    """All three outputs from timm's own pass, with every attention map built, in loops over heads and layers."""
    tokens, maps, outputs = by_hooks(network, pixels)
    state, fusion = network.state_dict(), network.fusion
    patches = tokens[:, CLASSES:].transpose(1, 2).reshape(len(pixels), WIDTH, GRID, GRID)
    coarse = functional.conv2d(patches, state["head.weight"], state["head.bias"], padding=1)
    fine = torch.zeros_like(coarse)
    for b in range(len(pixels)):
        scores = []
        for head in range(HEADS):
            for layer in range(LAYERS):
                channels = outputs[layer, b][:, head::HEADS]
                pooled = channels.max(0).values if network.pooling == "max" else channels.mean(0)
                scores.append(fusion.feature_score(pooled)[0])
        weights = fusion.map_weight(torch.stack(scores))
        fused = sum(
            weights[head * LAYERS + layer] * maps[layer, b, head] for head in range(HEADS) for layer in range(LAYERS)
        ) / (LAYERS * HEADS)
        cross, between = fused[:CLASSES, CLASSES:], fused[CLASSES:, CLASSES:]
        evidence = cross * coarse[b].relu().reshape(CLASSES, -1)
        fine[b] = (evidence @ between.T + network.residual * evidence).reshape(CLASSES, GRID, GRID)
    return coarse, fine, tokens[:, :CLASSES].mean(-1)


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("residual", [0.0, 1.5])
def test_all_outputs_equal_an_account_that_builds_every_attention_map(pooling, residual):
    network = network_of(pooling=pooling, residual=residual).double()
    maps = network(images(dtype=torch.float64))
    coarse, fine, tokens = plain_account(network, images(dtype=torch.float64))
    torch.testing.assert_close(maps.coarse, coarse, rtol=0, atol=1e-12)
    torch.testing.assert_close(maps.fine, fine, rtol=0, atol=1e-13)
    torch.testing.assert_close(maps.tokens, tokens, rtol=0, atol=1e-12)
    assert maps.fine.max() > 1e-3


def test_the_tower_is_timm_s_own_vit():
    network = network_of()
    tokens = network._run(images(), None)[0]
    expected, _, _ = by_hooks(network, images())
    torch.testing.assert_close(tokens, expected)
    assert isinstance(network.vit, VisionTransformer)


def test_some_classes_are_those_of_all():
    network = network_of()
    columns = torch.tensor([[2, 0], [1, 1]])
    whole, some = network(images()), network(images(), columns)
    for b, row in enumerate(columns):
        torch.testing.assert_close(some.fine[b], whole.fine[b, row])
    torch.testing.assert_close(some.coarse, whole.coarse)
    torch.testing.assert_close(some.tokens, whole.tokens)


def test_maps_without_and_with_gradients_are_the_same():
    network = network_of()
    with torch.no_grad():
        kernel = network(images()).fine
    torch.testing.assert_close(network(images()).fine.detach(), kernel)


@pytest.mark.parametrize(("height", "width"), [(24, 40), (48, 48), (8, 8), (64, 16)])
def test_any_size_gives_maps_on_its_own_grid(height, width):
    maps = network_of()(images(1, (height, width)))
    assert maps.fine.shape == (1, CLASSES, height // PATCH, width // PATCH)
    assert torch.isfinite(maps.fine).all()


def test_positions_are_resized_as_weaktr_does():
    positions = torch.randn(1, 196, 5, generator=torch.Generator().manual_seed(2))
    assert resize_positions(positions, (14, 14)) is positions
    resized = resize_positions(positions, (32, 21))
    square = positions.reshape(1, 14, 14, 5).permute(0, 3, 1, 2)
    expected = functional.interpolate(square, scale_factor=(32.1 / 14, 21.1 / 14), mode="bicubic")
    assert expected.shape == (1, 5, 32, 21)
    torch.testing.assert_close(resized, expected.permute(0, 2, 3, 1).reshape(1, -1, 5))


@pytest.mark.parametrize("length", range(1, 80))
def test_positions_reach_every_grid_exactly(length):
    positions = torch.zeros(1, 196, 2)
    assert resize_positions(positions, (length, 14)).shape == (1, length * 14, 2)


def test_gradients_reach_everything_at_first_and_head_and_fusion_alone_once_the_tower_is_frozen(tiny_engine):
    generator = WeakTrGenerator(tiny_engine, network_of())
    maps = generator.class_maps(images())
    (maps.coarse.mean() + maps.fine.sum() + maps.tokens.mean()).backward()
    assert all(parameter.grad is not None for parameter in generator.network.parameters())
    assert all(
        parameter.grad.abs().max() > 0 for name, parameter in generator.network.named_parameters() if "qkv" in name
    )
    generator.network.zero_grad()
    generator.freeze_tower()
    maps = generator.class_maps(images())
    (maps.coarse.mean() + maps.fine.sum()).backward()
    for name, parameter in generator.network.named_parameters():
        assert (parameter.grad is None) == name.startswith("vit."), name
        assert parameter.requires_grad != name.startswith("vit.")


def test_gradients_of_the_whole_network_are_right(monkeypatch):
    """Along random directions, by central differences in float64."""
    monkeypatch.setattr(fusion_module, "BACKWARD_SLOPE", 0.0)  # which is meant to differ from the true gradient
    network = network_of(residual=0.5).double()
    pixels = images(1, dtype=torch.float64)
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def loss(values):
        maps = torch.func.functional_call(network, values, (pixels,))
        weighted = maps.fine * torch.arange(maps.fine.numel()).reshape(maps.fine.shape)
        return weighted.sum() + maps.coarse.square().mean() + maps.tokens.square().sum()

    for number, name in enumerate(parameters):
        value = parameters[name].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss({**parameters, name: value}), value)
        generator = torch.Generator().manual_seed(number)
        direction = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        step = 1e-6
        up, down = (loss({**parameters, name: parameters[name] + sign * step * direction}) for sign in (1, -1))
        expected = float((up - down) / (2 * step))
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-7), name


def test_pixels_come_normalised_as_clip_s_and_are_seen_as_imagenet_s(tiny_engine):
    generator = WeakTrGenerator(tiny_engine, network_of())
    picture = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4))

    def normalised(mean, std):
        return (picture - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    preprocess = tiny_engine.preprocess
    maps = generator.class_maps(normalised(preprocess.mean, preprocess.std))
    expected = generator.network(normalised(IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(maps.fine, expected.fine, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(maps.tokens, expected.tokens, rtol=1e-4, atol=1e-5)


def test_drop_path_passes_over_branches_and_nothing_else():
    network = network_of()
    dropped = network(images(), drop_path=DropPath(0.9, torch.Generator().manual_seed(0)))
    again = network(images(), drop_path=DropPath(0.9, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(dropped.coarse, again.coarse)
    assert not torch.allclose(dropped.coarse, network(images()).coarse)


@pytest.mark.parametrize("name", VITS)
def test_named_shapes_are_those_of_timm(name):
    import timm

    shape = VITS[name]
    with torch.device("meta"):
        network = WeakTr(*asdict(shape).values(), num_classes=2)
    assert {key: network.shape[key] for key in asdict(shape)} == asdict(shape)
    if not timm.is_model(name):
        return
    with torch.device("meta"):
        theirs = timm.create_model(name, num_classes=0)
    ours = {key: tensor.shape for key, tensor in network.vit.state_dict().items() if key.startswith("blocks.")}
    assert ours == {key: tensor.shape for key, tensor in theirs.state_dict().items() if key.startswith("blocks.")}
    assert theirs.blocks[0].attn.num_heads == shape.num_heads


def test_the_seed_gives_the_first_weights_and_leaves_torch_s_own_state_alone():
    settings = [GeneratorSettings(kind="weaktr", vit="small_patch4_64", seed=seed) for seed in (1, 1, 2)]
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first, second, other = (build_weaktr(3, each).state_dict() for each in settings)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    assert not torch.equal(first["vit.blocks.0.attn.qkv.weight"], other["vit.blocks.0.attn.qkv.weight"])


def test_class_tokens_differ_by_their_positions():
    network = build_weaktr(3, GeneratorSettings(kind="weaktr", vit="small_patch4_64"))
    pixels = torch.zeros(1, 3, 64, 64)
    tokens = network(pixels).tokens[0]
    assert len(np.unique(tokens.detach().numpy().round(6))) == 3
