"""The mask generator WeakTr: a ViT with one class token for each class, and adaptive attention fusion.

Source: WeakTr (Zhu et al. 2023, arXiv 2304.01184, section 3). Fused attention from class tokens to patches, A_c,
reweighs the coarse map, and that between patches, A_p, spreads it: M = A_p · (A_c ⊙ ReLU(convolution)). The ViT's final
norm is not used, in its authors' model neither.

Letters: B images, L layers, H heads, W width, d = W / H, F classes, K classes asked for, P = h·w patches.
"""

import math
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from semples_cli.config import VITS, GeneratorSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generators.fusion import AttentionFusion, cross_attention, rectify, spread
from semples_cli.engine.generators.protocol import ClassMaps
from semples_cli.engine.tower_features import DropPath, pool_heads, scale_branch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Added to a new grid before it is divided by the old one, as the authors' positions are resized.
GRID_MARGIN = 0.1


class WeakTr(nn.Module):
    """The whole network: ViT, 3×3 convolution from patch tokens to classes, attention fusion.

    Attributes:
        has_class_tokens: True.
        vit: timm's VisionTransformer; its register tokens are the class tokens.
        pooling: 'max' or 'avg': how the head features are pooled over all tokens.
        num_classes: F.
        residual: r, what a patch keeps of its own evidence beside what attention brings it; 0 in WeakTr.
        shape: The arguments that it was made with, but the number of classes.
    """

    has_class_tokens = True

    def __init__(
        self,
        patch_size: int,
        width: int,
        num_layers: int,
        num_heads: int,
        image_size: int,
        num_classes: int,
        reduction: int = 8,
        pooling: str = "max",
        residual: float = 0.0,
    ) -> None:
        """Make the layers with timm's and torch's own random start."""
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer

        self.pooling = pooling
        self.num_classes = num_classes
        self.residual = residual
        self.patch_size = patch_size
        self.shape: dict[str, int | float | str] = {
            "patch_size": patch_size,
            "width": width,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "image_size": image_size,
            "reduction": reduction,
            "pooling": pooling,
            "residual": residual,
        }
        self.vit = VisionTransformer(
            img_size=image_size,
            patch_size=patch_size,
            embed_dim=width,
            depth=num_layers,
            num_heads=num_heads,
            num_classes=0,
            global_pool="",
            class_token=False,
            reg_tokens=num_classes,
            final_norm=False,
        )
        self.head = nn.Conv2d(width, num_classes, kernel_size=3, padding=1)
        self.fusion = AttentionFusion(width // num_heads, num_layers, num_heads, reduction)

    def forward(
        self, pixels: torch.Tensor, columns: torch.Tensor | None = None, drop_path: DropPath | None = None
    ) -> ClassMaps:
        """Class maps of images that are normalised as ImageNet's; see `MaskGenerator.class_maps`."""
        trained = any(p.requires_grad for p in self.vit.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and trained):
            tokens, queries, keys, head_features = self._run(pixels, drop_path)
        h, w = pixels.shape[-2] // self.patch_size, pixels.shape[-1] // self.patch_size
        class_tokens, patches = tokens[:, : self.num_classes], tokens[:, self.num_classes :]
        with torch.autocast(pixels.device.type, enabled=False):
            coarse = self.head(patches.transpose(1, 2).reshape(len(pixels), -1, h, w))
            rows = torch.arange(len(pixels), device=pixels.device)[:, None]
            wanted = coarse if columns is None else coarse[rows, columns]
            class_queries, patch_queries = queries[:, :, :, : self.num_classes], queries[:, :, :, self.num_classes :]
            if columns is not None:
                class_queries = class_queries[:, rows, :, columns].permute(2, 0, 3, 1, 4)
            weights = self.fusion(head_features)
            evidence = cross_attention(class_queries, keys, weights, h * w).reshape(wanted.shape) * rectify(wanted)
            fine = spread(evidence.flatten(2).transpose(1, 2), patch_queries, keys, weights)
        fine = fine.transpose(1, 2).reshape(wanted.shape) + self.residual * evidence
        return ClassMaps(coarse, fine, class_tokens.mean(dim=-1))

    def _run(
        self, pixels: torch.Tensor, drop_path: DropPath | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Final tokens (B, F + P, W), queries and keys (L, B, H, F + P, d), head features (B, L, H, d).

        All are float32 or wider. Queries include the softmax scale. Head features are pooled from what an attention
        gives after its projection.
        """
        tokens = self._embed(pixels)
        num_layers = len(self.vit.blocks)
        factors = drop_path.draw(len(pixels), num_layers) if drop_path else [(None, None)] * num_layers
        queries, keys, pooled = [], [], []
        for block, (attend, feed) in zip(cast("Any", self.vit.blocks), factors, strict=True):
            query, key, attended = _attend(block.attn, block.norm1(tokens))
            queries.append(_widen(query) / math.sqrt(query.shape[-1]))
            keys.append(_widen(key))
            pooled.append(pool_heads(_widen(attended), block.attn.num_heads, self.pooling))
            tokens = tokens + scale_branch(attended, attend)
            tokens = tokens + scale_branch(block.mlp(block.norm2(tokens)), feed)
        return _widen(tokens), torch.stack(queries), torch.stack(keys), torch.stack(pooled, dim=1)

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Class tokens and patches with their positions: (B, F + P, W)."""
        vit = cast("Any", self.vit)
        patches = vit.patch_embed.proj(pixels)
        classes, positions = vit.pos_embed[:, : self.num_classes], vit.pos_embed[:, self.num_classes :]
        patches = patches.flatten(2).transpose(1, 2) + resize_positions(
            positions, (patches.shape[-2], patches.shape[-1])
        )
        return torch.cat(((vit.reg_token + classes).expand(len(pixels), -1, -1), patches), dim=1)


class WeakTrGenerator:
    """The mask generator `weaktr`.

    Attributes:
        engine: The CLIP, which it reads nothing of but the normalisation of the pixels that come, and the device.
        network: All of it.
        patch_size: Side of its patches in pixels.
    """

    kind = "weaktr"

    def __init__(self, engine: ClipEngine, network: WeakTr) -> None:
        """Put the network on the engine's device."""
        self.engine = engine
        self.network = network.to(engine.device)
        self.patch_size = network.patch_size
        theirs = (torch.tensor(engine.preprocess.mean), torch.tensor(engine.preprocess.std))
        mean, std = (torch.tensor(each) for each in (IMAGENET_MEAN, IMAGENET_STD))
        self._factor = (theirs[1] / std)[:, None, None].to(engine.device)
        self._offset = ((theirs[0] - mean) / std)[:, None, None].to(engine.device)

    def freeze_tower(self) -> None:
        """From now on class head and fusion alone are trained."""
        self.network.vit.requires_grad_(requires_grad=False)

    def class_maps(
        self, pixels: torch.Tensor, columns: torch.Tensor | None = None, drop_path: DropPath | None = None
    ) -> ClassMaps:
        """Maps of a batch; pixels are normalised as CLIP's. See `MaskGenerator.class_maps`."""
        pixels = pixels.to(self.engine.device) * self._factor + self._offset
        with self.engine.autocast():
            maps: ClassMaps = self.network(pixels, columns, drop_path)
        return maps


def build_weaktr(num_classes: int, settings: GeneratorSettings) -> WeakTr:
    """A network of `settings.vit`, its first weights drawn from `settings.seed`; torch's own state stays as it was."""
    vit = VITS[settings.vit]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return WeakTr(
            vit.patch_size,
            vit.width,
            vit.num_layers,
            vit.num_heads,
            vit.image_size,
            num_classes,
            settings.reduction,
            settings.pooling,
            settings.residual,
        )


def resize_positions(positions: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Position embeddings of a square grid for another one: bicubic, without antialiasing, as WeakTr resizes them.

    Args:
        positions: (1, G², W).
        grid: (h, w).

    Returns:
        (1, h·w, W); the same where the grid is.
    """
    side = math.isqrt(positions.shape[1])
    if tuple(grid) == (side, side):
        return positions
    square = positions.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = [(length + GRID_MARGIN) / side for length in grid]
    resized = functional.interpolate(square, scale_factor=factors, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2)


def _attend(attention: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # noqa: ANN401
    """Queries and keys (B, H, N, d), and the projected output (B, N, W), of a timm attention over N tokens."""
    batch, num_tokens, width = tokens.shape
    projected = attention.qkv(tokens).reshape(batch, num_tokens, 3, attention.num_heads, -1)
    query, key, value = projected.permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return query, key, attention.proj(mixed.transpose(1, 2).reshape(batch, num_tokens, width))


def _widen(values: torch.Tensor) -> torch.Tensor:
    """Half precision becomes float32."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
