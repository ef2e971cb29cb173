"""The tower's pass against open_clip's own blocks, and queries, keys and head features against a plain account."""

import numpy as np
import pytest
import torch

from semples_cli.config import EngineSettings
from semples_cli.engine.build import build_engine
from semples_cli.engine.tower_features import read_tower
from semples_cli.errors import SettingsError


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(1))


def test_shapes_and_types(tiny_engine, pixels):
    features = read_tower(tiny_engine, pixels, "max")
    assert features.grid == (5, 7)
    assert features.patches.shape == (2, 35, 64)
    assert features.queries.shape == (3, 2, 4, 35, 16)
    assert features.keys.shape == (3, 2, 4, 36, 16)
    assert features.head_features.shape == (2, 3, 4, 16)
    for tensor in (features.patches, features.queries, features.keys, features.head_features):
        assert tensor.dtype == torch.float32
        assert not tensor.requires_grad


def test_patches_are_those_of_open_clip(tiny_engine):
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    theirs = tiny_engine.model.visual.forward_intermediates(
        pixels, indices=[-1], normalize_intermediates=True, intermediates_only=True, output_fmt="NLC"
    )
    torch.testing.assert_close(read_tower(tiny_engine, pixels, "max").patches, theirs["image_intermediates"][0])


def test_queries_and_keys_give_the_attention_of_the_engine(tiny_engine, pixels):
    features = read_tower(tiny_engine, pixels, "avg")
    _, attentions = tiny_engine.tokens_before_last_block(pixels, range(3))
    for layer in range(3):
        scores = features.queries[layer] @ features.keys[layer].transpose(-1, -2)
        mine = scores.softmax(-1)[..., 1:].mean(dim=1)
        torch.testing.assert_close(mine, attentions[layer])


@pytest.mark.parametrize(("pooling", "pool"), [("max", np.max), ("avg", np.mean)])
def test_head_features_are_every_hth_channel_of_the_projected_attention(tiny_engine, pixels, pooling, pool):
    outputs = []
    hooks = [
        block.attn.out_proj.register_forward_hook(lambda _m, _i, output: outputs.append(output.numpy()))
        for block in tiny_engine.blocks
    ]
    features = read_tower(tiny_engine, pixels, pooling)
    for hook in hooks:
        hook.remove()
    for layer, output in enumerate(outputs):
        assert output.shape == (2, 36, 64)  # the class token is among the pooled
        for head in range(4):
            expected = pool(output[:, :, head::4], axis=1)
            np.testing.assert_allclose(features.head_features[:, layer, head], expected, atol=1e-6)


def test_reduced_precision_comes_back_as_float32(tiny_dir, tiny_engine, pixels):
    engine = build_engine(EngineSettings(weights=str(tiny_dir), device="cpu", precision="bf16"))
    reduced, exact = (read_tower(each, pixels, "max") for each in (engine, tiny_engine))
    for name in ("patches", "queries", "keys", "head_features"):
        one, other = getattr(reduced, name), getattr(exact, name)
        assert one.dtype == torch.float32
        assert 0 < (one - other).abs().max() < 0.1 * other.abs().max()


def test_another_pooling_is_refused(tiny_engine, pixels):
    with pytest.raises(SettingsError, match="'median': choose max or avg"):
        read_tower(tiny_engine, pixels, "median")
