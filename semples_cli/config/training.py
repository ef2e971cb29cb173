"""Settings of prompts and mask generator, and the published presets."""

import re
from dataclasses import dataclass, replace

from semples_cli.config.require import require

SIMILARITIES = ("clamp", "half")
REPULSIONS = ("log-s", "log-one-minus-s")
PROMPT_STARTS = ("uniform", "tokens")
POOLINGS = ("max", "avg")
PUBLISHED_RAND_AUGMENT = "rand-m9-mstd0.5-inc1"
# timm passes over a section that it does not know, or stops at an assertion.
RAND_AUGMENT = r"rand(-(m\d+|n\d+|p(0(\.\d+)?|1(\.0+)?)|mstd\d+(\.\d+)?|mmax\d+|inc[01]|t(weights|3a|3aw)))*"

GENERATORS = ("clip_head", "weaktr")


@dataclass(frozen=True)
class VitShape:
    """What a ViT is made of.

    Attributes:
        patch_size: Side of a patch in pixels.
        width: Of the tokens.
        num_layers: Blocks.
        num_heads: Attention heads of each.
        image_size: Side in pixels of the images whose positions it learned.
    """

    patch_size: int
    width: int
    num_layers: int
    num_heads: int
    image_size: int


# By the names of timm, but for the last, which suits images of 64 pixels.
VITS = {
    "deit_tiny_patch16_224": VitShape(16, 192, 12, 3, 224),
    "deit_small_patch16_224": VitShape(16, 384, 12, 6, 224),
    "deit_base_patch16_224": VitShape(16, 768, 12, 12, 224),
    "small_patch4_64": VitShape(4, 192, 4, 3, 64),
}


@dataclass(frozen=True)
class PromptSettings:
    """Contrastive Prompt Learning, stage (b) of SemPLeS (Lin et al. 2025, arXiv 2401.11791).

    Attributes:
        prompt_length: L, learnable tokens of each prompt.
        epochs: Passes over all (image, present class) pairs.
        batch_size: Pairs a step.
        learning_rate: Base rate; a step uses learning_rate · batch_size / 512 on a cosine that ends at 0.
        weight_decay: AdamW's.
        lambda_t: Weight of the term that pushes a prompt off its own class.
        repulsion: That term: 'log-s' (+λ log s, as the released code has it) or 'log-one-minus-s' (−λ log(1 − s)).
        similarity: What goes into the logarithms: the cosine clamped to [1e-4, 1 − 1e-4] ('clamp', as published), or
            (1 + cosine) / 2, which has a gradient for negative cosines too ('half').
        start: First vectors: 'uniform' in [0, 1) (as published) or 'tokens': normal at the scale of the token table.
        views: Augmented views of each image whose background regions are embedded once.
        region_epsilon: ε of the min-max of the maps that cut the regions.
        region_sharpness: β of a sigmoid that pushes those maps to 0 and 1 before they cut; 0: as published, none.
        region_border: In (0, 1), where it has its middle; above 0.5, so that much of the background is left.
        crop_scale: Share of the image that a view shows at least, in (0, 1].
        seed: Seeds start, order and views.
        min_images: Images that a class needs for its prompt to be used by later stages.
        plateau_epochs: Stop once an epoch's mean loss has not fallen by a thousandth for this many epochs; 0: never.
    """

    prompt_length: int = 30
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 0.03
    lambda_t: float = 0.1
    repulsion: str = "log-one-minus-s"
    similarity: str = "half"
    start: str = "tokens"
    views: int = 4
    region_epsilon: float = 1e-4
    region_sharpness: float = 16.0
    region_border: float = 0.7
    crop_scale: float = 0.5
    seed: int = 504
    min_images: int = 3
    plateau_epochs: int = 0

    def __post_init__(self) -> None:
        require(self.prompt_length >= 1, f"prompt length {self.prompt_length}: 1 or more")
        require(min(self.epochs, self.batch_size, self.views) >= 1, "epochs, batch size and views: 1 or more")
        require(self.min_images >= 1, f"min images {self.min_images}: 1 or more")
        require(self.learning_rate > 0, f"learning rate {self.learning_rate}: above 0")
        require(self.lambda_t >= 0, f"lambda_t {self.lambda_t}: 0 or more")
        require(self.repulsion in REPULSIONS, f"repulsion {self.repulsion!r}: choose one of {', '.join(REPULSIONS)}")
        require(
            self.similarity in SIMILARITIES, f"similarity {self.similarity!r}: choose one of {', '.join(SIMILARITIES)}"
        )
        require(self.start in PROMPT_STARTS, f"start {self.start!r}: choose one of {', '.join(PROMPT_STARTS)}")
        require(self.region_epsilon >= 0, f"region epsilon {self.region_epsilon}: 0 or more")
        require(self.region_sharpness >= 0, f"region sharpness {self.region_sharpness}: 0 or more")
        require(0 < self.region_border < 1, f"region border {self.region_border}: it lies in (0, 1)")
        require(0 < self.crop_scale <= 1, f"crop scale {self.crop_scale}: it lies in (0, 1]")
        require(self.plateau_epochs >= 0, f"plateau epochs {self.plateau_epochs}: 0 (never stop early) or more")


_VOC12_PROMPTS = PromptSettings(
    lambda_t=0.02,
    repulsion="log-s",
    similarity="clamp",
    start="uniform",
    region_sharpness=0.0,
    crop_scale=0.08,
    min_images=1,
)
PROMPT_PRESETS: dict[str, PromptSettings] = {
    "own": PromptSettings(),
    "voc12": _VOC12_PROMPTS,
    "coco14": replace(_VOC12_PROMPTS, learning_rate=0.01, lambda_t=0.01),
}


@dataclass(frozen=True)
class GeneratorSettings:
    """Training of the mask generator: initial weights, matching (a) and refinement (c).

    Attributes:
        kind: 'clip_head', on the frozen CLIP, or 'weaktr', a ViT of its own.
        vit: That ViT, one of VITS; 'clip_head' has none.
        reduction: r of the attention fusion (WeakTr, Zhu et al. 2023, arXiv 2304.01184).
        pooling: 'max' or 'avg': how the fusion sums up the per-head features over the patches.
        residual: r, what a patch keeps of its own evidence beside what attention brings it; 0: nothing.
        epochs: Passes over the labelled images, of each stage.
        batch_size: Images a step.
        micro_batch: Images that go through CLIP at once; gradients are added up; halved when memory runs out.
        initial_learning_rate: Base rate of the initial weights' training.
        learning_rate: Base rate of (a) and (c); each is · batch_size / 512 on a cosine that ends at 0.
        weight_decay: AdamW's.
        lambda_b: Weight of the background-region term of the matching loss.
        lambda_r: Weight of the refinement loss.
        similarity: As in PromptSettings.
        region_epsilon: ε of the min-max of the maps that cut the regions.
        region_sharpness: β of a sigmoid that pushes those maps to 0 and 1 before they cut; 0: as published, none.
        crop_scale: Share of the image that an augmented view shows at least, in (0, 1].
        rand_augment: RandAugment of the views in timm's words, such as 'rand-m9-mstd0.5-inc1'; '': none.
        erasing: Probability that a rectangle of a view becomes noise, in [0, 1].
        drop_path: Rate at which the tower's last block is passed over in training, in [0, 1); linear from 0 before it.
        refine_batch_size: Images a step of (c); None: as many as in the other trainings.
        seed: Seeds first weights, order, views and drop path.
    """

    kind: str = "clip_head"
    vit: str = "deit_small_patch16_224"
    reduction: int = 8
    pooling: str = "max"
    residual: float = 1.0
    epochs: int = 60
    batch_size: int = 64
    micro_batch: int = 64
    initial_learning_rate: float = 4e-3
    learning_rate: float = 4e-3
    weight_decay: float = 0.03
    lambda_b: float = 0.3
    lambda_r: float = 0.15
    similarity: str = "half"
    region_epsilon: float = 0.1
    region_sharpness: float = 8.0
    crop_scale: float = 0.5
    rand_augment: str = ""
    erasing: float = 0.0
    drop_path: float = 0.0
    refine_batch_size: int | None = None
    seed: int = 504

    def __post_init__(self) -> None:
        require(self.kind in GENERATORS, f"generator {self.kind!r}: choose one of {', '.join(GENERATORS)}")
        require(self.vit in VITS, f"ViT {self.vit!r}: choose one of {', '.join(VITS)}")
        require(self.reduction >= 1, f"reduction {self.reduction}: 1 or more")
        require(self.pooling in POOLINGS, f"pooling {self.pooling!r}: choose one of {', '.join(POOLINGS)}")
        require(
            min(self.epochs, self.batch_size, self.micro_batch) >= 1, "epochs, batch size and micro batch: 1 or more"
        )
        require(min(self.initial_learning_rate, self.learning_rate) > 0, "learning rates: above 0")
        require(min(self.lambda_b, self.lambda_r) >= 0, "lambda_b and lambda_r: 0 or more")
        require(min(self.residual, self.region_sharpness) >= 0, "residual and region sharpness: 0 or more")
        require(
            self.similarity in SIMILARITIES, f"similarity {self.similarity!r}: choose one of {', '.join(SIMILARITIES)}"
        )
        require(self.region_epsilon >= 0, f"region epsilon {self.region_epsilon}: 0 or more")
        require(0 < self.crop_scale <= 1, f"crop scale {self.crop_scale}: it lies in (0, 1]")
        require(
            not self.rand_augment or re.fullmatch(RAND_AUGMENT, self.rand_augment) is not None,
            f"RandAugment {self.rand_augment!r}: as timm writes it, such as {PUBLISHED_RAND_AUGMENT!r}; '' for none",
        )
        require(0 <= self.erasing <= 1, f"erasing {self.erasing}: a probability, it lies in [0, 1]")
        require(0 <= self.drop_path < 1, f"drop path {self.drop_path}: it lies in [0, 1)")
        require(
            self.refine_batch_size is None or self.refine_batch_size >= 1,
            f"batch size of the refinement {self.refine_batch_size}: 1 or more, or None for the batch size",
        )

    def for_refinement(self) -> "GeneratorSettings":
        """The settings of stage (c): its batch size is `refine_batch_size` where that is given."""
        return self if self.refine_batch_size is None else replace(self, batch_size=self.refine_batch_size)


GENERATOR_PRESETS: dict[str, GeneratorSettings] = {
    "own": GeneratorSettings(),
    "voc12": GeneratorSettings(
        learning_rate=5.12e-4,
        lambda_b=2.4,
        lambda_r=0.05,
        similarity="clamp",
        region_sharpness=0.0,
        crop_scale=0.08,
        rand_augment=PUBLISHED_RAND_AUGMENT,
        erasing=0.25,
        drop_path=0.1,
    ),
    "coco14": GeneratorSettings(
        pooling="avg",
        reduction=4,
        batch_size=32,
        learning_rate=5.12e-6,
        lambda_b=0.75,
        lambda_r=0.2,
        similarity="clamp",
        region_sharpness=0.0,
        crop_scale=0.08,
        rand_augment=PUBLISHED_RAND_AUGMENT,
        erasing=0.25,
        drop_path=0.1,
        refine_batch_size=24,
    ),
}
