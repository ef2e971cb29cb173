from copy import deepcopy

import pytest
import torch
from torch.nn import functional

from semples_cli.engine import attention
from semples_cli.engine.attention import mix_heads, project_heads
from semples_cli.engine.last_block import LastBlock


@pytest.fixture
def pixels():
    return lambda size, batch=2: torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def whole(engine, tokens, normed):
    """The image features, by the block's own modules: what `LastBlock` must be alike."""
    visual = engine.model.visual
    block = visual.transformer.resblocks[-1]
    hidden = tokens + block.ls_1(block.ln_attn(block.attn(normed)))
    hidden = hidden + block.ls_2(block.mlp(block.ln_2(hidden)))
    return functional.normalize(visual.ln_post(hidden)[:, 1:].mean(1) @ visual.proj, dim=-1)


@pytest.fixture
def tokens(tiny_engine, pixels):
    made, _ = tiny_engine.tokens_before_last_block(pixels((64, 40), batch=3))
    return made


def scores_of(features):
    """Three scores of each image that depend on it in different ways."""
    return [features[:, 0], features[:, 1:4].exp().sum(1), (features * features.roll(1, 1)).sum(1) * 30]


@pytest.mark.parametrize("want_attention", [False, True])
def test_features_are_those_of_the_block_s_own_modules(tiny_engine, tokens, want_attention):
    last = tiny_engine.last_block(tokens, want_attention=want_attention)
    normed = tiny_engine.model.visual.transformer.resblocks[-1].ln_1(tokens)
    torch.testing.assert_close(last.normed, normed)
    torch.testing.assert_close(last.features, whole(tiny_engine, tokens, normed), rtol=0, atol=2e-6)
    assert (last.attention is not None) == want_attention


@pytest.mark.parametrize("want_attention", [False, True])
def test_channel_weights_are_the_mean_over_patches_of_autograd_s_gradient(tiny_engine, tokens, want_attention):
    last = tiny_engine.last_block(tokens, want_attention=want_attention)
    weights = last.channel_weights(scores_of(last.features))
    assert weights.shape == (3, 3, tiny_engine.width)
    normed = last.normed.clone().requires_grad_()
    for k, score in enumerate(scores_of(whole(tiny_engine, tokens, normed))):
        (gradient,) = torch.autograd.grad(score.sum(), normed, retain_graph=True)
        theirs = gradient[:, 1:].mean(1)
        torch.testing.assert_close(weights[k], theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_channel_weights_in_double_precision_are_exact(tiny_engine, tokens):
    """The closed form is the gradient itself, not something near it."""
    visual = deepcopy(tiny_engine.model.visual).double()
    for module in visual.modules():  # open_clip's LayerNorm goes through float32 and back
        if isinstance(module, torch.nn.LayerNorm):
            module.forward = lambda x, m=module: functional.layer_norm(x, m.normalized_shape, m.weight, m.bias, m.eps)
    last = LastBlock(visual, tokens.double(), want_attention=False)
    weights = last.channel_weights(scores_of(last.features))
    block, normed = visual.transformer.resblocks[-1], last.normed.clone().requires_grad_()
    hidden = tokens.double() + block.attn(normed)
    hidden = hidden + block.mlp(block.ln_2(hidden))
    features = functional.normalize(visual.ln_post(hidden)[:, 1:].mean(1) @ visual.proj, dim=-1)
    for k, score in enumerate(scores_of(features)):
        (gradient,) = torch.autograd.grad(score.sum(), normed, retain_graph=True)
        torch.testing.assert_close(weights[k], gradient[:, 1:].mean(1), rtol=1e-9, atol=1e-12)


def test_an_image_alone_has_the_weights_that_it_has_in_a_batch(tiny_engine, tokens):
    last = tiny_engine.last_block(tokens)
    together = last.channel_weights(scores_of(last.features))
    for b in range(3):
        alone = tiny_engine.last_block(tokens[b : b + 1])
        weights = alone.channel_weights(scores_of(alone.features))
        torch.testing.assert_close(weights[:, 0], together[:, b], rtol=1e-3, atol=1e-6)


def test_no_weight_of_the_model_gets_a_gradient(tiny_engine, tokens):
    last = tiny_engine.last_block(tokens)
    last.channel_weights(scores_of(last.features))
    assert all(parameter.grad is None for parameter in tiny_engine.model.parameters())
    assert not last.normed.requires_grad


def test_values_are_mixed_as_by_scaled_dot_product_attention(tiny_engine, tokens):
    block = tiny_engine.model.visual.transformer.resblocks[-1]
    heads = project_heads(block.attn, block.ln_1(tokens))
    mixed, mean = mix_heads(heads)
    theirs = functional.scaled_dot_product_attention(*heads, scale=1.0).transpose(1, 2).flatten(2)
    torch.testing.assert_close(mixed, theirs, rtol=0, atol=1e-6)
    torch.testing.assert_close(mean.sum(-1), torch.ones(mean.shape[:2]), rtol=0, atol=1e-5)


def test_all_heads_at_once_are_the_same_as_one_after_the_other(tiny_engine, tokens, monkeypatch):
    """As on a GPU; here on the CPU, with the portions that it would take."""
    one = tiny_engine.last_block(tokens, want_attention=True)
    weights = one.channel_weights(scores_of(one.features))
    assert attention._heads_at_once(torch.zeros(1, 4, 2, 2)) == 1
    assert attention._heads_at_once(torch.zeros(1, 4, 2, 2, device="meta")) == 4
    monkeypatch.setattr(attention, "_heads_at_once", lambda query: query.shape[1])
    other = tiny_engine.last_block(tokens, want_attention=True)
    torch.testing.assert_close(other.attention, one.attention, rtol=0, atol=1e-6)
    again = other.channel_weights(scores_of(other.features))
    torch.testing.assert_close(again, weights, rtol=1e-4, atol=1e-5 * float(weights.abs().max()))
