"""Checkpoints that others made, as weights of our WeakTr: the authors' own, SemPLeS's, and DeiT's to start from.

The key map, official name → ours, in a model of K classes, L layers, H heads and M = L·H attention maps:

| official | ours | shape |
| --- | --- | --- |
| `cls_token` | `vit.reg_token` | (1, K, W) |
| `pos_embed`, `patch_embed.*`, `blocks.*` | `vit.` before the same name | as in timm |
| `head.weight`, `head.bias` | the same | (K, W, 3, 3), (K,) |
| `adaptive_attention_fusion.attn_feat_ffn.0.*` | `fusion.feature_score.0.*` | (d/8, d), (d/8,) |
| `adaptive_attention_fusion.attn_feat_ffn.1.*` | `fusion.feature_score.1.*` | (1, d/8), (1,) |
| `adaptive_attention_fusion.attn_head_ffn.0.weight` | `fusion.map_weight.0.weight` | (M/r, M) |
| `adaptive_attention_fusion.attn_head_ffn.2.weight` | `fusion.map_weight.2.weight` | (M, M/r) |
| `norm.*` | left out: nothing reads it | |

Pooling is no weight. The published models have r = 8 with max pooling (VOC 2012) and r = 4 with average pooling
(COCO 2014); for any other r it has to be said.

Letters: F classes, W width, d head width, G side of the position grid.
"""

import math
from collections.abc import Mapping

import torch

from semples_cli.engine.generators.weaktr import WeakTr, resize_positions
from semples_cli.errors import EngineError, SettingsError

State = Mapping[str, torch.Tensor]

POOLING_OF_REDUCTION = {8: "max", 4: "avg"}

_FUSION = "adaptive_attention_fusion."
_RENAMED = {
    "attn_feat_ffn.": "fusion.feature_score.",
    "attn_head_ffn.": "fusion.map_weight.",
}
_UNREAD = ("norm.",)
_CLASSIFIERS = ("head.", "head_dist.", "dist_token", "fc_norm.")


def is_weaktr(state: State) -> bool:
    """Whether a state dict is a whole WeakTr of the authors' naming."""
    return any(name.startswith(_FUSION) for name in state)


def convert_weaktr(state: State, num_classes: int, pooling: str | None = None) -> WeakTr:
    """A network with the weights of an official WeakTr or SemPLeS checkpoint.

    Args:
        state: Its state dict.
        num_classes: F; the checkpoint must be of as many.
        pooling: 'max' or 'avg'; None: that of the published model with this reduction.

    Raises:
        EngineError: It is of another architecture, or of another number of classes.
        SettingsError: Its pooling has to be said.
    """
    tensors = {_our_name(name): tensor.float() for name, tensor in state.items() if not name.startswith(_UNREAD)}
    try:
        shape = _shape_of(tensors)
        found = len(tensors["head.weight"])
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        msg = f"no WeakTr checkpoint: {error} is missing or has another shape; bring the authors' file unchanged"
        raise EngineError(msg) from None
    if found != num_classes:
        msg = f"a WeakTr checkpoint of {found} classes, but there are {num_classes}; give its class list by --classes"
        raise EngineError(msg)
    pooling = pooling or POOLING_OF_REDUCTION.get(shape["reduction"])
    if pooling is None:
        msg = f"a WeakTr checkpoint of reduction {shape['reduction']} does not say its pooling; give max or avg"
        raise SettingsError(msg)
    network = WeakTr(num_classes=num_classes, pooling=pooling, **shape)
    _load(network, tensors)
    return network


def start_from_vit(network: WeakTr, state: State) -> None:
    """Put the weights of a DeiT, or another ViT of timm's naming, into the tower, in place.

    Class token and its position are repeated for every class; patch positions are resized where the sizes differ. A
    classifier, the final norm and a distillation token are left out; class head and fusion stay as they are.

    Args:
        network: The network that is to be trained.
        state: State dict of the ViT.

    Raises:
        EngineError: It is of another architecture.
    """
    passed_over = (*_UNREAD, *_CLASSIFIERS)
    tensors = {f"vit.{name}": tensor.float() for name, tensor in state.items() if not name.startswith(passed_over)}
    token, positions = tensors.pop("vit.cls_token", None), tensors.pop("vit.pos_embed", None)
    if token is None or positions is None:
        msg = f"no ViT to start from: {'cls_token' if token is None else 'pos_embed'} is missing; bring a DeiT of timm"
        raise EngineError(msg)
    own = network.vit.state_dict()["pos_embed"]
    side, num_classes = math.isqrt(own.shape[1] - network.num_classes), network.num_classes
    prefix = positions.shape[1] - math.isqrt(positions.shape[1]) ** 2
    patches = resize_positions(positions[:, prefix:], (side, side))
    tensors["vit.reg_token"] = token[:, :1].expand(-1, num_classes, -1)
    tensors["vit.pos_embed"] = torch.cat((positions[:, :1].expand(-1, num_classes, -1), patches), dim=1)
    kept = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("vit.")}
    _load(network, {**tensors, **kept})


def _our_name(name: str) -> str:
    if name == "cls_token":
        return "vit.reg_token"
    if name.startswith(_FUSION):
        inner = name.removeprefix(_FUSION)
        return next((ours + inner.removeprefix(old) for old, ours in _RENAMED.items() if inner.startswith(old)), name)
    return name if name.startswith("head.") else f"vit.{name}"


def _shape_of(tensors: State) -> dict[str, int]:
    """What WeakTr is made of, but its classes and pooling, read off the shapes."""
    width, head_width = tensors["vit.reg_token"].shape[2], tensors["fusion.feature_score.0.weight"].shape[1]
    num_layers = len({name.split(".")[2] for name in tensors if name.startswith("vit.blocks.")})
    patch_size = tensors["vit.patch_embed.proj.weight"].shape[-1]
    side = math.isqrt(tensors["vit.pos_embed"].shape[1] - tensors["vit.reg_token"].shape[1])
    hidden, num_maps = tensors["fusion.map_weight.0.weight"].shape
    return {
        "patch_size": patch_size,
        "width": width,
        "num_layers": num_layers,
        "num_heads": width // head_width,
        "image_size": side * patch_size,
        "reduction": num_maps // hidden,
    }


def _load(network: WeakTr, tensors: State) -> None:
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        msg = f"weights of another network than this WeakTr ({reason}); bring those of {_name_of(network)}"
        raise EngineError(msg) from None


def _name_of(network: WeakTr) -> str:
    facts = network.shape
    return f"a ViT of width {facts['width']}, {facts['num_layers']} layers and patches of {facts['patch_size']} pixels"
