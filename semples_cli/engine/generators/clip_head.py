"""The default mask generator: a trained class head and attention fusion on the frozen image tower of CLIP.

Sources: the fusion is WeakTr's (Zhu et al. 2023, arXiv 2304.01184, section 3.2). CLIP has no class tokens, so there is
no cross attention: M = (A_p + r I) · ReLU(convolution). r I, what a patch keeps of its own evidence, stands for the
residual connections of the tower, as in attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928); r = 0 is WeakTr's
form. docs/decisions/0007 says what it is worth.

Letters: B images, L layers, H heads, W tower width, d = W / H, F classes, K classes asked for, P = h·w patches.
"""

import torch
from torch import nn

from semples_cli.config import GeneratorSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generators.fusion import AttentionFusion, rectify, spread
from semples_cli.engine.generators.protocol import ClassMaps
from semples_cli.engine.tower_features import DropPath, TowerFeatures, read_tower


class ClipHead(nn.Module):
    """All that is trained: a 3×3 convolution from patch tokens to classes, and the attention fusion.

    Attributes:
        has_class_tokens: False: CLIP has none.
        pooling: 'max' or 'avg': how the head features that it reads are pooled.
        num_classes: F.
        residual: r, what a patch keeps of its own evidence beside what attention brings it.
        shape: The arguments that it was made with, but the number of classes.
    """

    has_class_tokens = False

    def __init__(
        self,
        width: int,
        num_layers: int,
        num_heads: int,
        num_classes: int,
        reduction: int = 8,
        pooling: str = "max",
        residual: float = 0.0,
    ) -> None:
        """Make the layers with torch's own random start."""
        super().__init__()
        self.pooling = pooling
        self.num_classes = num_classes
        self.residual = residual
        self.shape: dict[str, int | float | str] = {
            "width": width,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "reduction": reduction,
            "pooling": pooling,
            "residual": residual,
        }
        self.head = nn.Conv2d(width, num_classes, kernel_size=3, padding=1)
        self.fusion = AttentionFusion(width // num_heads, num_layers, num_heads, reduction)

    def forward(self, features: TowerFeatures, columns: torch.Tensor | None = None) -> ClassMaps:
        """Class maps; see `MaskGenerator.class_maps`."""
        h, w = features.grid
        patches = features.patches.transpose(1, 2).reshape(len(features.patches), -1, h, w)
        coarse: torch.Tensor = self.head(patches)
        wanted = coarse if columns is None else coarse[torch.arange(len(coarse))[:, None], columns]
        evidence = rectify(wanted)
        weights = self.fusion(features.head_features)
        fine = spread(evidence.flatten(2).transpose(1, 2), features.queries, features.keys, weights)
        return ClassMaps(coarse, fine.transpose(1, 2).reshape(*wanted.shape) + self.residual * evidence)


class ClipGenerator:
    """The mask generator `clip_head`: a frozen CLIP and the head trained on it.

    Attributes:
        engine: The CLIP.
        network: The trained part, on the engine's device.
        patch_size: Side of CLIP's patches in pixels.
    """

    kind = "clip_head"

    def __init__(self, engine: ClipEngine, network: ClipHead) -> None:
        """Put them together; the head goes to the engine's device."""
        self.engine = engine
        self.network = network.to(engine.device)
        self.patch_size = engine.patch_size

    def freeze_tower(self) -> None:
        """Nothing: the tower is CLIP's, which is never trained."""

    def class_maps(
        self, pixels: torch.Tensor, columns: torch.Tensor | None = None, drop_path: DropPath | None = None
    ) -> ClassMaps:
        """Maps of a batch; gradients reach the head alone. See `MaskGenerator.class_maps`."""
        features = read_tower(self.engine, pixels, self.network.pooling, drop_path)
        maps: ClassMaps = self.network(features, columns)
        return maps


def build_clip_head(engine: ClipEngine, num_classes: int, settings: GeneratorSettings) -> ClipHead:
    """A head for a CLIP, its first weights drawn from `settings.seed`; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return ClipHead(
            engine.width,
            engine.num_layers,
            engine.num_heads,
            num_classes,
            settings.reduction,
            settings.pooling,
            settings.residual,
        )
