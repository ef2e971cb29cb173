"""Training-free CAMs: softmax-GradCAM at CLIP's last block, spread by its own attention (CLIP-ES, Lin et al. 2023).

What competes with the classes of an image: hand-written background words, or, our own combination, the learned prompts
of all classes. The prompts of its own classes alone would be too few: even the true words for those backgrounds, used
that way, were worse than no words (docs/results.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from semples_cli.config import CamSettings
from semples_cli.engine.cam_maker import CamMaker
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.last_block import LastBlock
from semples_cli.engine.layers import parse_layers
from semples_cli.functional.affinity import Affinity, propagate
from semples_cli.functional.cam import class_margins, grad_cam, min_max
from semples_cli.types import ClassSet


@dataclass(frozen=True)
class CompetingPrompts:
    """Learned background prompts that take the place of background words.

    Attributes:
        features: (F, D) float32, L2-normalised.
        usable: (F,) bool: classes whose prompt could be learned.
        record: What tells these prompts from others, as JSON values.
    """

    features: torch.Tensor
    usable: torch.Tensor
    record: Mapping[str, object] = field(default_factory=dict)


class SeedGenerator(CamMaker):
    """Makes CAMs of a class set; texts are encoded once, here.

    Letters: N images, K classes present in one, F classes, D embedding width, W tower width, P patches.

    Attributes:
        background_words: The settings' words without those that are a class's own name, which would compete with it.
    """

    _memory_cure = "give a smaller --size, fewer --affinity-layers, or --device cpu"

    def __init__(
        self,
        engine: ClipEngine,
        class_set: ClassSet,
        settings: CamSettings,
        prompts: CompetingPrompts | None = None,
    ) -> None:
        """Encode the texts of all classes and background words.

        Args:
            engine: A built CLIP.
            class_set: The classes.
            settings: How CAMs are made; with `prompts`, its background words are not used.
            prompts: Learned prompts: the usable ones of all classes compete in every image.

        Raises:
            SettingsError: The affinity layers do not go with the model.
        """
        super().__init__(engine, len(class_set), settings)
        self._layers = parse_layers(settings.affinity_layers, engine.num_layers)
        own = {name.casefold() for name in (*class_set.names, *class_set.prompt_names)}
        listed = settings.background_words if prompts is None else ()
        self.background_words = tuple(word for word in listed if word.casefold() not in own)
        words = (*class_set.prompt_names, *self.background_words)
        self._texts = engine.encode_texts([settings.template.replace("{}", word) for word in words])
        self._usable = None if prompts is None else prompts.usable.cpu()
        if prompts is not None:
            self._texts = torch.cat([self._texts, prompts.features.to(engine.device)])
            self.record = dict(prompts.record)

    def _pass_maps(self, pixels: torch.Tensor, classes: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """(K, h, w) in [0, 1] of each image at one scale: GradCAM, then affinity."""
        h, w = (side // self._engine.patch_size for side in pixels.shape[-2:])
        tokens, attentions = self._engine.tokens_before_last_block(pixels, self._layers)
        own = self._engine.num_layers - 1
        last = self._engine.last_block(tokens, want_attention=own in self._layers)
        if last.attention is not None:
            attentions[own] = last.attention
        attention = self._mean(attentions)
        del attentions
        cams = self._grad_cams(last, classes)
        made = []
        for b, indices in enumerate(classes):
            maps = min_max(cams[b, : len(indices)].reshape(-1, h, w))
            made.append(maps if attention is None else self._spread(maps, attention[b]))
        return made

    def _spread(self, maps: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        """Affinity in float64 where the device has it: it is close to uniform, and min-max blows up what is left."""
        exact = torch.float32 if maps.device.type == "mps" else torch.float64
        settings, affinity = self.settings, Affinity(attention.to(exact))
        return propagate(maps, affinity, steps=settings.affinity_steps, box_threshold=settings.box_threshold)

    @staticmethod
    def _mean(attentions: dict[int, torch.Tensor]) -> torch.Tensor | None:
        """(B, P, P) mean over the chosen layers; None where none was chosen."""
        if not attentions:
            return None
        total = torch.zeros_like(next(iter(attentions.values())))
        for attention in attentions.values():  # not stacked: that would be all of them in memory twice
            total += attention
        return total / len(attentions)

    def _grad_cams(self, last: LastBlock, classes: Sequence[Sequence[int]]) -> torch.Tensor:
        """(B, K_max, P) GradCAMs; row k of an image is its k-th class, rows beyond its classes mean nothing.

        One way back gives the k-th class of all images at once, for no image depends on another.
        """
        targets, competing = self._targets(classes)
        logits = self._engine.logit_scale * last.features @ self._texts.T
        margins = (class_margins(logits, competing, targets[:, k]) for k in range(targets.shape[1]))
        return grad_cam(last.normed[:, 1:], last.channel_weights(margins)).transpose(0, 1)

    def _targets(self, classes: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Texts (B, K_max) that are looked for, short rows filled with their last; and (B, T) that compete."""
        most = max(len(indices) for indices in classes)
        columns = [[k - 1 for k in indices] for indices in classes]
        targets = torch.tensor([row + row[-1:] * (most - len(row)) for row in columns])
        competing = torch.zeros(len(classes), len(self._texts), dtype=torch.bool)
        competing[:, self._num_classes :] = True
        competing.scatter_(1, targets, True)
        if self._usable is not None:
            competing[:, self._num_classes :] = self._usable
        return targets.to(self._engine.device), competing.to(self._engine.device)
