"""Checkpoints of others: the key map on the official shapes and names, DeiT as a start, and every refusal."""

import argparse

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from semples_cli.engine.generators.weaktr import WeakTr
from semples_cli.engine.generators.weaktr_checkpoint import convert_weaktr, is_weaktr, start_from_vit
from semples_cli.engine.weights import read_state_dict
from semples_cli.errors import EngineError, SettingsError

FUSION = "adaptive_attention_fusion."


def official_state(num_classes=20, reduction=8, width=384, layers=12, side=14, patch=16, seed=0):
    """Random tensors with the names and shapes of an official checkpoint on DeiT-S, written out by hand."""
    heads = width // 64
    maps = layers * heads
    shapes = {
        "cls_token": (1, num_classes, width),
        "pos_embed": (1, num_classes + side * side, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
    }
    for i in range(layers):
        shapes |= {
            f"blocks.{i}.norm1.weight": (width,),
            f"blocks.{i}.norm1.bias": (width,),
            f"blocks.{i}.attn.qkv.weight": (3 * width, width),
            f"blocks.{i}.attn.qkv.bias": (3 * width,),
            f"blocks.{i}.attn.proj.weight": (width, width),
            f"blocks.{i}.attn.proj.bias": (width,),
            f"blocks.{i}.norm2.weight": (width,),
            f"blocks.{i}.norm2.bias": (width,),
            f"blocks.{i}.mlp.fc1.weight": (4 * width, width),
            f"blocks.{i}.mlp.fc1.bias": (4 * width,),
            f"blocks.{i}.mlp.fc2.weight": (width, 4 * width),
            f"blocks.{i}.mlp.fc2.bias": (width,),
        }
    shapes |= {
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (num_classes, width, 3, 3),
        "head.bias": (num_classes,),
        f"{FUSION}attn_feat_ffn.0.weight": (8, 64),
        f"{FUSION}attn_feat_ffn.0.bias": (8,),
        f"{FUSION}attn_feat_ffn.1.weight": (1, 8),
        f"{FUSION}attn_feat_ffn.1.bias": (1,),
        f"{FUSION}attn_head_ffn.0.weight": (maps // reduction, maps),
        f"{FUSION}attn_head_ffn.2.weight": (maps, maps // reduction),
    }
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def state():
    return official_state()


@pytest.mark.parametrize(("classes", "reduction", "pooling"), [(20, 8, "max"), (80, 4, "avg")])
def test_official_checkpoints_load_whole(classes, reduction, pooling):
    state = official_state(classes, reduction)
    assert len(state) == 158
    assert is_weaktr(state)
    network = convert_weaktr(state, classes)
    assert network.shape == {
        "patch_size": 16,
        "width": 384,
        "num_layers": 12,
        "num_heads": 6,
        "image_size": 224,
        "reduction": reduction,
        "pooling": pooling,
        "residual": 0.0,
    }
    ours = network.state_dict()
    assert len(ours) == 156  # all but the final norm, which nothing reads
    for theirs, name in (
        ("cls_token", "vit.reg_token"),
        ("pos_embed", "vit.pos_embed"),
        ("patch_embed.proj.weight", "vit.patch_embed.proj.weight"),
        ("blocks.7.attn.qkv.bias", "vit.blocks.7.attn.qkv.bias"),
        ("blocks.11.mlp.fc2.weight", "vit.blocks.11.mlp.fc2.weight"),
        ("head.weight", "head.weight"),
        ("head.bias", "head.bias"),
        (f"{FUSION}attn_feat_ffn.0.weight", "fusion.feature_score.0.weight"),
        (f"{FUSION}attn_feat_ffn.1.bias", "fusion.feature_score.1.bias"),
        (f"{FUSION}attn_head_ffn.0.weight", "fusion.map_weight.0.weight"),
        (f"{FUSION}attn_head_ffn.2.weight", "fusion.map_weight.2.weight"),
    ):
        assert torch.equal(ours[name], state[theirs]), name


class Reference(nn.Module):
    """The network of the official names, from its description alone; it builds every attention map at 224 pixels."""

    def __init__(self, state, num_classes, pooling):
        super().__init__()
        self.state, self.num_classes, self.pooling = state, num_classes, pooling
        self.vit = VisionTransformer(
            embed_dim=384, num_heads=6, num_classes=0, global_pool="", class_token=False, reg_tokens=num_classes
        )
        own = {name: tensor for name, tensor in state.items() if not name.startswith(("head.", FUSION, "cls_token"))}
        self.vit.load_state_dict({**own, "reg_token": state["cls_token"]})

    def forward(self, pixels):
        tokens, maps, features = self._run(pixels)
        count = self.num_classes
        pooled = features.amax(2) if self.pooling == "max" else features.mean(2)  # (L, B, W)
        heads = torch.stack([pooled[:, :, head::6] for head in range(6)], dim=1)  # (L, H, B, d)
        scores = self._linear(self._linear(heads, "attn_feat_ffn.0"), "attn_feat_ffn.1")[..., 0]
        flat = scores.permute(2, 1, 0).flatten(1)  # head by head, layers within a head
        hidden = (flat @ self.state[f"{FUSION}attn_head_ffn.0.weight"].T).relu()
        weights = (hidden @ self.state[f"{FUSION}attn_head_ffn.2.weight"].T).sigmoid()
        ordered = maps.permute(1, 2, 0, 3, 4).flatten(1, 2)  # (B, H·L, N, N)
        fused = (ordered * weights[:, :, None, None]).mean(1)
        patches = tokens[:, count:].transpose(1, 2).reshape(len(pixels), -1, 14, 14)
        coarse = nn.functional.conv2d(patches, self.state["head.weight"], self.state["head.bias"], padding=1)
        evidence = fused[:, :count, count:] * coarse.relu().flatten(2)
        fine = torch.einsum("bpq,bkq->bkp", fused[:, count:, count:], evidence)
        return coarse, fine.reshape(coarse.shape), tokens[:, :count].mean(-1)

    def _linear(self, values, name):
        return values @ self.state[f"{FUSION}{name}.weight"].T + self.state[f"{FUSION}{name}.bias"]

    def _run(self, pixels):
        tokens = self.vit._pos_embed(self.vit.patch_embed(pixels))
        maps, features = [], []
        for block in self.vit.blocks:
            normed = block.norm1(tokens)
            batch, count, width = normed.shape
            qkv = block.attn.qkv(normed).reshape(batch, count, 3, 6, 64).permute(2, 0, 3, 1, 4)
            attention = (qkv[0] @ qkv[1].transpose(-1, -2) / 8).softmax(-1)
            output = block.attn.proj((attention @ qkv[2]).transpose(1, 2).reshape(batch, count, width))
            maps.append(attention)
            features.append(output)
            tokens = tokens + output
            tokens = tokens + block.mlp(block.norm2(tokens))
        return tokens, torch.stack(maps), torch.stack(features)


@torch.no_grad()
@pytest.mark.parametrize(("reduction", "pooling"), [(8, "max"), (4, "avg")])
def test_a_converted_checkpoint_gives_what_the_described_network_gives(reduction, pooling):
    state = official_state(3, reduction)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    maps = convert_weaktr(state, 3)(pixels)
    coarse, fine, tokens = Reference(state, 3, pooling)(pixels)
    torch.testing.assert_close(maps.coarse, coarse, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps.fine, fine, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(maps.tokens, tokens, rtol=1e-4, atol=1e-5)
    assert maps.fine.max() > 0


def test_a_training_checkpoint_is_read_without_running_code(tmp_path, state):
    content = {
        "model": state,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 59,
        "miou": np.float64(0.7),
        "best": np.float32(0.7),
        "args": argparse.Namespace(lr=5e-4),
    }
    torch.save(content, tmp_path / "weaktr.pth")
    read = read_state_dict(tmp_path / "weaktr.pth")
    assert set(read) == set(state)
    assert torch.equal(read["head.weight"], state["head.weight"])


def test_figures_that_numpy_1_wrote_are_read_too(tmp_path, state):
    torch.save({"model": {"head.bias": state["head.bias"]}, "miou": np.float64(0.7)}, tmp_path / "new.pth")
    import zipfile

    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for entry in new.infolist():
            old.writestr(entry, new.read(entry).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert torch.equal(read_state_dict(tmp_path / "old.pth")["head.bias"], state["head.bias"])


class Hostile:
    def __reduce__(self):
        return (print, ("this must never be seen",))


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"model": {"a": torch.zeros(1)}, "args": Hostile()}, tmp_path / "bad.pth")
    with pytest.raises(EngineError, match="cannot be read as weights"):
        read_state_dict(tmp_path / "bad.pth")
    assert capsys.readouterr().out == ""


def test_another_number_of_classes_is_refused(state):
    with pytest.raises(EngineError, match="of 20 classes, but there are 3; give its class list by --classes"):
        convert_weaktr(state, 3)


def test_an_unknown_reduction_does_not_say_its_pooling():
    state = official_state(2, 6)
    with pytest.raises(SettingsError, match="reduction 6 does not say its pooling; give max or avg"):
        convert_weaktr(state, 2)
    assert convert_weaktr(state, 2, "avg").pooling == "avg"


@pytest.mark.parametrize(
    "name", ["head.weight", "cls_token", "blocks.3.mlp.fc1.bias", f"{FUSION}attn_feat_ffn.0.weight"]
)
def test_a_part_that_is_missing_is_named(state, name):
    less = {key: tensor for key, tensor in state.items() if key != name}
    with pytest.raises(EngineError, match="bring"):
        convert_weaktr(less, 20)


def test_a_deit_is_no_weaktr():
    assert not is_weaktr({"cls_token": torch.zeros(1), "head.weight": torch.zeros(1)})


def small(num_classes=3, side=24):
    torch.manual_seed(0)
    return WeakTr(8, 12, 2, 2, side, num_classes, 2)


def small_vit(**options):
    torch.manual_seed(1)
    arguments = {"img_size": 24, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 5}
    return VisionTransformer(**{**arguments, **options}).state_dict()


def test_a_deit_becomes_the_tower_with_its_class_token_for_every_class():
    network, vit = small(), small_vit()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start_from_vit(network, vit)
    after = network.state_dict()
    for name in ("blocks.0.attn.qkv.weight", "blocks.1.mlp.fc2.bias", "patch_embed.proj.weight"):
        assert torch.equal(after[f"vit.{name}"], vit[name])
    for k in range(3):
        assert torch.equal(after["vit.reg_token"][0, k], vit["cls_token"][0, 0])
        assert torch.equal(after["vit.pos_embed"][0, k], vit["pos_embed"][0, 0])
    assert torch.equal(after["vit.pos_embed"][:, 3:], vit["pos_embed"][:, 1:])
    for name in before:
        if not name.startswith("vit."):
            assert torch.equal(before[name], after[name]), name


def test_positions_of_another_image_size_are_resized():
    network = small(side=40)
    start_from_vit(network, small_vit())
    assert network.vit.pos_embed.shape == (1, 3 + 25, 12)
    assert torch.isfinite(network.vit.pos_embed).all()


def test_what_is_left_out_of_a_distilled_deit():
    network, vit = small(), small_vit()
    vit |= {
        "dist_token": torch.zeros(1, 1, 12),
        "head_dist.weight": torch.zeros(5, 12),
        "head_dist.bias": torch.zeros(5),
    }
    vit["pos_embed"] = torch.cat((vit["pos_embed"][:, :1], torch.full((1, 1, 12), 7.0), vit["pos_embed"][:, 1:]), dim=1)
    start_from_vit(network, vit)
    assert torch.equal(network.vit.pos_embed[:, 3:], vit["pos_embed"][:, 2:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embed_dim": 24}, "weights of another network.*bring those of a ViT of width 12, 2 layers and patches of 8"),
        ({"depth": 3}, "weights of another network"),
        ({"patch_size": 4}, "weights of another network"),
        ({"class_token": False, "global_pool": "avg"}, "cls_token is missing; bring a DeiT of timm"),
    ],
)
def test_another_vit_is_refused(change, message):
    with pytest.raises(EngineError, match=message):
        start_from_vit(small(), small_vit(**change))
