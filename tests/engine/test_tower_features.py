"""The tower's pass against open_clip's own blocks, and queries, keys and head features against a plain account."""

import numpy as np
import pytest
import torch

from semples_cli.config import EngineSettings
from semples_cli.engine.build import build_engine
from semples_cli.engine.tower_features import DropPath, read_tower
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
    tokens, attentions = tiny_engine.tokens_before_last_block(pixels, (0, 1))
    attentions[2] = tiny_engine.last_block(tokens, want_attention=True).attention
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


def drop_path(rate=0.5, seed=0):
    return DropPath(rate, torch.Generator().manual_seed(seed))


def test_rates_rise_on_a_line_from_0_and_keep_the_expectation():
    factors = drop_path(0.4).draw(20_000, 3)
    for block, rate in zip(factors, (0.0, 0.2, 0.4), strict=True):
        for half in block:
            kept = half[half != 0]
            torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)))
            assert float((half == 0).float().mean()) == pytest.approx(rate, abs=0.015)
            assert float(half.mean()) == pytest.approx(1, abs=0.03)
    attend, feed = factors[2]
    assert not torch.equal(attend, feed)


def test_micro_batches_draw_what_the_batch_draws():
    whole, parts = drop_path(), drop_path()
    expected = whole.draw(5, 3)
    found = [parts.draw(n, 3) for n in (2, 3)]
    for layer in range(3):
        for half in range(2):
            assert torch.equal(torch.cat([each[layer][half] for each in found]), expected[layer][half])


def test_a_half_that_is_passed_over_adds_nothing_and_the_others_more(tiny_engine, pixels, monkeypatch):
    """By hand: the tower with its branches scaled, one block after the other."""
    factors = [(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0])), (torch.tensor([0.0, 2.0]), torch.ones(2))]
    factors.append((torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])))
    monkeypatch.setattr(DropPath, "draw", lambda self, batch, num_layers: factors)
    found = read_tower(tiny_engine, pixels, "max", drop_path())
    with torch.no_grad():
        tokens = tiny_engine.embed(pixels)
        for block, (attend, feed) in zip(tiny_engine.blocks, factors, strict=True):
            normed = block.ln_1(tokens)
            attended = block.attn(normed)
            tokens = tokens + attended * attend[:, None, None]
            tokens = tokens + block.mlp(block.ln_2(tokens)) * feed[:, None, None]
        expected = tiny_engine.norm_patches(tokens)
    torch.testing.assert_close(found.patches, expected)


def test_a_small_rate_changes_something_and_none_nothing(tiny_engine, pixels):
    plain = read_tower(tiny_engine, pixels, "max")
    assert not torch.equal(read_tower(tiny_engine, pixels, "max", drop_path(0.1)).patches, plain.patches)
    assert torch.equal(read_tower(tiny_engine, pixels, "max", None).patches, plain.patches)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(SettingsError, match=r"it lies in \(0, 1\)"):
        drop_path(rate)
