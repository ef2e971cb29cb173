import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from timm.layers import resample_abs_pos_embed
from tiny_clip import make_tiny_model, write_tiny_dir
from torch.nn import functional

from semples_cli.config import EngineSettings
from semples_cli.engine.build import build_engine
from semples_cli.engine.clip import resample_positions

SIZES = [(64, 64), (64, 128), (88, 40)]


@pytest.fixture(scope="module")
def plain(tiny_dir):
    """The same weights in open_clip's own default blocks, loaded by open_clip."""
    return open_clip.create_model(f"local-dir:{tiny_dir}").eval()


@pytest.fixture
def pixels():
    return lambda size, batch=2: torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def built_at(model, size):
    """open_clip's model made for images of this size, its weights resized by open_clip as a checkpoint would be."""
    from open_clip.model import resize_pos_embed

    larger = make_tiny_model(image_size=size)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    resize_pos_embed(state, larger)
    larger.load_state_dict(state)
    return larger


def finish(engine, tokens):
    """The last block and CLIP's own pooling by the class token."""
    visual = engine.model.visual
    return visual.ln_post(visual.transformer.resblocks[-1](tokens))[:, 0] @ visual.proj


def test_attributes(tiny_engine):
    assert (tiny_engine.patch_size, tiny_engine.embed_dim, tiny_engine.num_layers) == (8, 32, 3)
    assert (tiny_engine.width, tiny_engine.num_heads, tiny_engine.image_size) == (64, 4, 64)
    assert len(tiny_engine.blocks) == 3
    assert tiny_engine.logit_scale == pytest.approx(100)
    assert tiny_engine.dtype == torch.float32


def test_texts_are_encoded_as_open_clip_does_in_any_number(tiny_engine, plain):
    texts = [f"word {i}" for i in range(300)]
    with torch.no_grad():
        theirs = plain.encode_text(open_clip.tokenize(texts, context_length=16), normalize=True)
    ours = tiny_engine.encode_texts(texts)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(300))
    assert tiny_engine.encode_texts([]).shape == (0, 32)


def test_images_are_encoded_as_open_clip_does_at_its_own_size(tiny_engine, plain):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, size, dtype=np.uint8) for size in [(64, 64, 3), (90, 70, 3), (17, 31, 3)]]
    _, _, transform = open_clip.create_model_and_transforms("ViT-M-32-alt", force_image_size=64)
    with torch.no_grad():
        theirs = plain.encode_image(torch.stack([transform(Image.fromarray(i)) for i in images]), normalize=True)
    torch.testing.assert_close(tiny_engine.encode_images(images), theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
def test_tokens_and_last_block_are_the_whole_tower_at_any_size(tiny_engine, tiny_model, pixels, size):
    x = pixels(size)
    larger = built_at(tiny_model, size)
    with torch.no_grad():
        theirs = larger.visual.forward_intermediates(
            x, indices=[-2], stop_early=True, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        tokens, attentions = tiny_engine.tokens_before_last_block(x)
        torch.testing.assert_close(tokens[:, 1:], theirs["image_intermediates"][0], rtol=0, atol=1e-5)
        torch.testing.assert_close(tokens[:, :1], theirs["image_intermediates_prefix"][0], rtol=0, atol=1e-5)
        torch.testing.assert_close(finish(tiny_engine, tokens), larger.encode_image(x), rtol=0, atol=1e-5)
    assert attentions == {}


@pytest.mark.parametrize("new", [(8, 8), (16, 8), (5, 11), (1, 1)])
def test_positions_are_resized_as_timm_does(tiny_model, new):
    table = tiny_model.visual.positional_embedding.detach()
    theirs = resample_abs_pos_embed(table[None], list(new), [8, 8], num_prefix_tokens=1)[0]
    assert torch.equal(resample_positions(table, (8, 8), new), theirs)


def test_looking_at_another_size_changes_nothing(tiny_engine, pixels):
    first, _ = tiny_engine.tokens_before_last_block(pixels((64, 64)))
    tiny_engine.tokens_before_last_block(pixels((128, 72)), (0, 1))
    again, _ = tiny_engine.tokens_before_last_block(pixels((64, 64)))
    assert torch.equal(first, again)
    assert tiny_engine.model.visual.positional_embedding.shape == (65, 64)


def test_attention_equals_that_of_open_clip_s_own_blocks(tiny_engine, plain, pixels):
    x = pixels((64, 64))
    inputs = []
    hooks = [
        block.attn.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
        for block in plain.visual.transformer.resblocks
    ]
    # Outside no_grad: there MultiheadAttention's fast path would skip the hooks' module calls.
    plain.visual(x)
    for hook in hooks:
        hook.remove()
    tokens, attentions = tiny_engine.tokens_before_last_block(x, (0, 1))
    assert list(attentions) == [0, 1]
    attentions[2] = tiny_engine.last_block(tokens, want_attention=True).attention
    for layer, block in enumerate(plain.visual.transformer.resblocks):
        query = inputs[layer]
        _, theirs = block.attn(query, query, query, need_weights=True, average_attn_weights=True)
        torch.testing.assert_close(attentions[layer], theirs[:, 1:, 1:].detach(), rtol=0, atol=1e-6)


def test_only_the_chosen_layers_attention_is_computed(tiny_engine, pixels):
    _, attentions = tiny_engine.tokens_before_last_block(pixels((64, 40)), (1,))
    assert list(attentions) == [1]
    assert attentions[1].shape == (2, 40, 40)
    assert attentions[1].min() > 0
    assert (attentions[1].sum(-1) < 1).all()  # the class token's share is left out


@pytest.mark.parametrize("layers", [(), (0,), (0, 1)])
def test_tokens_are_the_same_whatever_attention_is_wanted(tiny_engine, pixels, layers):
    plain, _ = tiny_engine.tokens_before_last_block(pixels((64, 40)))
    tokens, _ = tiny_engine.tokens_before_last_block(pixels((64, 40)), layers)
    torch.testing.assert_close(tokens, plain, rtol=0, atol=2e-6)


def test_the_last_block_is_not_run_for_tokens(tiny_engine, pixels):
    calls = []
    blocks = tiny_engine.model.visual.transformer.resblocks
    hooks = [b.mlp.register_forward_hook(lambda *a, i=i: calls.append(i)) for i, b in enumerate(blocks)]
    tiny_engine.tokens_before_last_block(pixels((64, 64)), (0,))
    for hook in hooks:
        hook.remove()
    assert calls == [0, 1]


def test_a_batch_equals_its_images_one_by_one(tiny_engine, pixels):
    x = pixels((64, 88), batch=3)
    tokens, attentions = tiny_engine.tokens_before_last_block(x, (1,))
    for b in range(3):
        one, attention = tiny_engine.tokens_before_last_block(x[b : b + 1], (1,))
        torch.testing.assert_close(one[0], tokens[b], rtol=0, atol=1e-5)
        torch.testing.assert_close(attention[1][0], attentions[1][b], rtol=0, atol=1e-6)


def test_patch_features_are_clip_s_own_where_it_pools_the_mean(tmp_path, pixels):
    model = make_tiny_model(pool_type="avg")
    config = {"vision_cfg": {"image_size": 64, "patch_size": 8, "layers": 3, "width": 64, "head_width": 16}}
    config["vision_cfg"]["pool_type"] = "avg"
    engine = build_engine(
        EngineSettings(weights=str(write_tiny_dir(tmp_path / "avg", model, **config)), device="cpu", precision="fp32")
    )
    x = pixels((64, 64))
    with torch.no_grad():
        tokens, _ = engine.tokens_before_last_block(x)
        ours = engine.last_block(tokens).features
        torch.testing.assert_close(ours, model.encode_image(x, normalize=True), rtol=0, atol=2e-6)


def test_bf16_stays_near_fp32_and_keeps_the_residual_stream_in_float32(tiny_engine, tiny_dir, pixels):
    half = build_engine(EngineSettings(weights=str(tiny_dir), device="cpu", precision="bf16"))
    x = pixels((64, 64))
    ours, attentions = half.tokens_before_last_block(x, (1,))
    exact, _ = tiny_engine.tokens_before_last_block(x)
    assert (ours.dtype, attentions[1].dtype) == (torch.float32, torch.float32)
    assert functional.cosine_similarity(ours, exact, dim=-1).min() > 0.999
    assert not torch.equal(ours, exact)
    assert torch.equal(half.encode_texts(["sea"]), tiny_engine.encode_texts(["sea"]))
    image = np.zeros((64, 64, 3), np.uint8)
    assert half.encode_images([image]).dtype == torch.float32
