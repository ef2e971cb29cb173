"""Continuous prompts against CLIP's own text encoder, what gets a gradient, where they start, whose they are."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_clip import TINY_CONFIG, make_tiny_model, write_tiny_dir
from torch import nn

from semples_cli.config import EngineSettings, PromptSettings
from semples_cli.engine.build import build_engine
from semples_cli.engine.compact import save_compact_model_dir
from semples_cli.engine.prompts import (
    AFTER,
    BEFORE,
    PromptEncoder,
    check_prompt_length,
    check_prompts,
    initial_vectors,
    prompt_features,
)
from semples_cli.errors import SettingsError
from semples_cli.types import ClassSet, PromptSet

LONGEST = 16 - 6  # the tiny CLIP reads 16 tokens
FULL_STOP = 269


def drawn(count, length, seed=0):
    return torch.randn(count, length, 64, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def encode_ids(engine, ids):
    """open_clip's own way: the whole token window, padded with 0, read at the highest id."""
    window = torch.zeros(1, 16, dtype=torch.int64)
    window[0, : len(ids)] = torch.tensor(ids)
    return engine.model.encode_text(window, normalize=True)


@torch.no_grad()
def embedded(engine, ids):
    return engine.model.token_embedding(torch.tensor([ids]))


def middle(engine, words):
    """Token ids of words without start and end."""
    ids = [i for i in engine.tokenizer([words])[0].tolist() if i]
    return ids[1:-1]


@pytest.mark.parametrize("words", ["sea", "a clean origami boat", "railway", "two dogs on the white sand by the sea"])
def test_a_prompt_of_a_sentence_s_own_tokens_is_that_sentence(tiny_engine, words):
    """The full stop of tokenised sentences in place of the published prompts'."""
    encoder = PromptEncoder(tiny_engine, after=(FULL_STOP, 49407))
    with torch.no_grad():
        ours = encoder(embedded(tiny_engine, middle(tiny_engine, words)))
    theirs = tiny_engine.encode_texts([f"a photo of {words}."])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 4, LONGEST])
def test_a_prompt_is_those_very_token_ids_in_the_whole_window(tiny_engine, length):
    ids = np.random.default_rng(length).integers(1, 40000, length).tolist()
    with torch.no_grad():
        ours = PromptEncoder(tiny_engine)(embedded(tiny_engine, ids))
    theirs = encode_ids(tiny_engine, [49406, 320, 1125, 539, *ids, 13, 49407])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_the_published_token_ids(tiny_engine):
    assert (49406, *middle(tiny_engine, "a photo of")) == BEFORE
    assert tuple(middle(tiny_engine, ".")) == (FULL_STOP,)
    assert AFTER == (13, 49407)
    ours, sentence = (encode_ids(tiny_engine, [*BEFORE, 2102, stop, 49407]) for stop in (13, FULL_STOP))
    assert not torch.allclose(ours, sentence, atol=1e-3)  # the two full stops are not the same


def test_a_linear_projection_is_the_same_as_a_parameter(tiny_engine, monkeypatch):
    vectors = drawn(2, 3)
    with torch.no_grad():
        before = PromptEncoder(tiny_engine)(vectors)
        linear = nn.Linear(64, 32, bias=False)
        linear.weight.copy_(tiny_engine.model.text_projection.T)
        monkeypatch.delattr(tiny_engine.model, "text_projection")
        monkeypatch.setattr(tiny_engine.model, "text_projection", linear, raising=False)
        torch.testing.assert_close(PromptEncoder(tiny_engine)(vectors), before, rtol=0, atol=1e-6)


def test_prompts_do_not_depend_on_each_other(tiny_engine):
    vectors, encoder = drawn(3, 4), PromptEncoder(tiny_engine)
    with torch.no_grad():
        together = encoder(vectors)
        for k in range(3):
            torch.testing.assert_close(encoder(vectors[k : k + 1])[0], together[k], rtol=0, atol=1e-6)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))


def test_nothing_past_the_end_is_computed(tiny_engine):
    lengths = []
    hook = tiny_engine.model.transformer.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape))
    PromptEncoder(tiny_engine)(drawn(2, 3))
    hook.remove()
    assert lengths == [(2, 6 + 3, 64)]


def clip_hash(engine):
    digest = hashlib.sha256()
    for name, tensor in sorted(engine.model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def test_gradients_reach_the_vectors_and_nothing_else(tiny_engine):
    before, vectors = clip_hash(tiny_engine), drawn(2, 4).requires_grad_()
    encoder = PromptEncoder(tiny_engine)
    encoder(vectors)[:, 0].sum().backward()
    assert (vectors.grad.abs().sum(dim=-1) > 0).all()
    assert all(parameter.grad is None for parameter in tiny_engine.model.parameters())
    assert list(encoder.parameters()) == []
    assert clip_hash(tiny_engine) == before


def test_the_gradient_is_that_of_the_whole_window(tiny_engine):
    """open_clip's own encode_text, with the learnable tokens put in behind its token embedding."""
    ours, theirs, direction = drawn(1, 3).requires_grad_(), drawn(1, 3).requires_grad_(), drawn(1, 1)[0, 0, :32]
    (PromptEncoder(tiny_engine)(ours) @ direction).sum().backward()
    ids = torch.zeros(1, 16, dtype=torch.int64)
    ids[0, :9] = torch.tensor([*BEFORE, 0, 0, 0, *AFTER])

    def put_in(module, args, output):
        return torch.cat([output[:, :4], theirs, output[:, 7:]], dim=1)

    hook = tiny_engine.model.token_embedding.register_forward_hook(put_in)
    (tiny_engine.model.encode_text(ids, normalize=True) @ direction).sum().backward()
    hook.remove()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


def test_text_features_stay_float32_in_every_precision(tiny_engine, tiny_dir):
    half = build_engine(EngineSettings(weights=str(tiny_dir), device="cpu", precision="bf16"))
    with torch.no_grad():
        assert torch.equal(PromptEncoder(half)(drawn(2, 3)), PromptEncoder(tiny_engine)(drawn(2, 3)))


def test_prompts_that_do_not_fit_the_window_are_refused(tiny_engine):
    check_prompt_length(tiny_engine, LONGEST)
    message = "prompt length 11: this CLIP reads 16 tokens; give --prompt-length 10 or less"
    with pytest.raises(SettingsError, match=message):
        check_prompt_length(tiny_engine, 11)
    with pytest.raises(SettingsError, match=message):
        PromptEncoder(tiny_engine)(drawn(1, 11))
    with pytest.raises(SettingsError, match=message):
        initial_vectors(tiny_engine, 2, PromptSettings(prompt_length=11))


# Where learning starts


def test_a_uniform_start_lies_between_0_and_1(tiny_engine):
    vectors = initial_vectors(tiny_engine, 5, PromptSettings(start="uniform", prompt_length=10))
    assert vectors.shape == (5, 10, 64)
    assert vectors.dtype == torch.float32
    assert 0 <= vectors.min() < 0.01
    assert 0.99 < vectors.max() < 1


def test_a_start_at_the_scale_of_the_tokens(tiny_engine):
    table = tiny_engine.model.token_embedding.weight
    vectors = initial_vectors(tiny_engine, 50, PromptSettings(start="tokens", prompt_length=10))
    assert vectors.std().item() == pytest.approx(table.std().item(), rel=0.02)
    assert vectors.mean().item() == pytest.approx(table.mean().item(), abs=3 * table.std().item() / 32000**0.5)


def test_rows_of_the_table_that_are_empty_do_not_count(tmp_path):
    model = make_tiny_model()
    with torch.no_grad():
        model.token_embedding.weight.zero_()
        model.token_embedding.weight[100:110] = 0.5 + torch.randn(10, 64, generator=torch.Generator().manual_seed(0))
    write_tiny_dir(tmp_path / "m", model)
    engine = build_engine(EngineSettings(weights=str(tmp_path / "m"), device="cpu", precision="fp32"))
    vectors = initial_vectors(engine, 50, PromptSettings(start="tokens", prompt_length=10))
    assert vectors.std().item() == pytest.approx(1, rel=0.1)
    assert vectors.mean().item() == pytest.approx(0.5, abs=0.1)


def test_a_cut_token_table_gives_the_same_prompts(tmp_path, tiny_model, tiny_engine):
    """Of a compact model the fixed tokens are stored; 13 too, once a model is saved for prompts."""
    save_compact_model_dir(tiny_model, TINY_CONFIG, {0, *BEFORE, *AFTER}, tmp_path / "cut")
    cut = build_engine(EngineSettings(weights=str(tmp_path / "cut"), device="cpu", precision="fp32"))
    with torch.no_grad():
        assert torch.equal(PromptEncoder(cut)(drawn(2, 3)), PromptEncoder(tiny_engine)(drawn(2, 3)))


@pytest.mark.parametrize("start", ["uniform", "tokens"])
def test_the_start_follows_from_the_seed_alone(tiny_engine, start):
    torch.manual_seed(1)
    settings = PromptSettings(start=start, prompt_length=4)
    first = initial_vectors(tiny_engine, 2, settings)
    torch.manual_seed(2)
    assert torch.equal(initial_vectors(tiny_engine, 2, settings), first)
    assert not torch.equal(initial_vectors(tiny_engine, 2, replace(settings, seed=505)), first)


# Whose they are


@pytest.fixture
def prompts(tiny_engine):
    record = tiny_engine.record
    return PromptSet(
        class_names=("boat", "cat"),
        prompt_names=("boat", "cat"),
        vectors=drawn(2, 3).numpy(),
        clip_name=record["model"],
        weights_hash=record["weights_sha256"],
        quick_gelu=record["quick_gelu"],
    )


def test_features_of_a_prompt_set_in_any_number(tiny_engine, prompts):
    features = prompt_features(tiny_engine, prompts)
    assert torch.equal(features, PromptEncoder(tiny_engine)(torch.from_numpy(prompts.vectors)).detach())
    assert not features.requires_grad
    names = tuple(f"class {k}" for k in range(300))
    many = replace(prompts, class_names=names, prompt_names=names, vectors=np.repeat(prompts.vectors[:1], 300, axis=0))
    torch.testing.assert_close(prompt_features(tiny_engine, many), features[:1].expand(300, -1), rtol=0, atol=1e-6)


def test_vectors_in_any_memory_layout(tiny_engine, prompts):
    turned = replace(prompts, vectors=np.asfortranarray(prompts.vectors))
    assert torch.equal(prompt_features(tiny_engine, turned), prompt_features(tiny_engine, prompts))


def test_prompts_of_this_clip_and_these_classes_pass(tiny_engine, prompts):
    check_prompts(tiny_engine, prompts)
    check_prompts(tiny_engine, prompts, ClassSet(("boat", "cat")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_hash": "ab" * 32, "clip_name": "ViT-L-14"}, r"with ViT-L-14, weights abababababab…, but.*--weights"),
        ({"quick_gelu": True}, "quick_gelu True, but CLIP was loaded with False: give --quick-gelu or --no-quick-gelu"),
        ({"class_names": ("boat", "dog")}, r"differing: cat, dog\): learn prompts for these"),
        ({"class_names": ("cat", "boat")}, "differing: their order"),
    ],
)
def test_prompts_of_another_clip_or_class_list_are_refused(tiny_engine, prompts, changes, message):
    with pytest.raises(SettingsError, match=message):
        check_prompts(tiny_engine, replace(prompts, **changes), ClassSet(("boat", "cat")))
