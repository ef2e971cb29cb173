"""One frozen dataclass of settings per step. Standard library only, so that `--help` is instant."""

import re
from dataclasses import dataclass, replace

from semples_cli.errors import SettingsError

CLEAN_TEMPLATE = "a clean origami {}."
DEFAULT_MODEL = "ViT-B-16"
DEFAULT_WEIGHTS = "openai"
DEFAULT_BACKGROUND_SCORE = 0.4
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MASK_MODES = ("palette", "L")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SettingsError(message)


@dataclass(frozen=True)
class EngineSettings:
    """Which CLIP, from where, on what.

    Attributes:
        model: open_clip model name, such as 'ViT-B-16'.
        weights: Pretrained tag, or path of a `.pt`/`.safetensors` file or of an open_clip model directory.
        quick_gelu: The activation the weights were trained with; None: known from the tag or the directory.
        device: 'auto' (CUDA, else MPS, else CPU), 'cpu', 'cuda', 'cuda:1', 'mps'.
        precision: 'auto' (bf16 only where the processor has it), 'fp32', 'bf16', 'fp16'.
    """

    model: str = DEFAULT_MODEL
    weights: str = DEFAULT_WEIGHTS
    quick_gelu: bool | None = None
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        _require(self.precision in PRECISIONS, f"precision {self.precision!r}: choose one of {', '.join(PRECISIONS)}")
        _require(
            self.device.split(":")[0] in DEVICES,
            f"device {self.device!r}: choose one of {', '.join(DEVICES)}, or cuda:N",
        )


@dataclass(frozen=True)
class CamSettings:
    """How training-free CAMs are made (CLIP-ES, Lin et al. 2023).

    Attributes:
        size: Longest side in pixels that CLIP sees; images are never enlarged.
        scales: Factors on that size; the maps are averaged.
        flips: Average with the mirrored image too.
        template: Text template; '{}' is the class.
        background_words: Texts that compete with the classes; () for none.
        background_score: In [0, 1]: what the argmax gives to background.
        affinity_layers: Layers whose attention spreads the maps: 'last:8', 'first:1', 'all', '1,2,5' (1-based), 'none'.
        affinity_steps: Squarings of the affinity matrix.
        box_threshold: In [0, 1]: affinity reaches into boxes around map components above this.
        batch_size: Images that go through CLIP at once; halved when device memory runs out.
    """

    size: int = 512
    scales: tuple[float, ...] = (1.0,)
    flips: bool = False
    template: str = CLEAN_TEMPLATE
    background_words: tuple[str, ...] = ()
    background_score: float = DEFAULT_BACKGROUND_SCORE
    affinity_layers: str = "last:8"
    affinity_steps: int = 1
    box_threshold: float = 0.4
    batch_size: int = 8

    def __post_init__(self) -> None:
        _require(self.size >= 1, f"size {self.size}: give the longest side in pixels, 1 or more")
        _require(
            bool(self.scales) and all(0 < s <= 4 for s in self.scales), f"scales {self.scales}: each lies in (0, 4]"
        )
        _require("{}" in self.template, f"template {self.template!r}: it needs '{{}}' where the class goes")
        _require(0 <= self.background_score <= 1, f"background score {self.background_score}: it lies in [0, 1]")
        _require(0 <= self.box_threshold <= 1, f"box threshold {self.box_threshold}: it lies in [0, 1]")
        _require(0 <= self.affinity_steps <= 4, f"affinity steps {self.affinity_steps}: 0 to 4")
        _require(self.batch_size >= 1, f"batch size {self.batch_size}: 1 or more")


@dataclass(frozen=True)
class CrfSettings:
    """Dense CRF settings; see `CRF_PRESETS` for the published ones.

    Attributes:
        unary: 'labels' (hard labels with gt_prob) or 'scores' (-log of the map scores).
        gt_prob: In (0, 1): trust in a hard label; used by 'labels' only.
        gaussian_sxy: Standard deviation of the position-only kernel, in pixels.
        gaussian_compat: Weight of that kernel.
        bilateral_sxy: Position standard deviation of the appearance kernel, in pixels.
        bilateral_srgb: Colour standard deviation of the appearance kernel, in 8-bit levels.
        bilateral_compat: Weight of that kernel.
        iterations: Mean-field iterations.
        min_confidence: Pixels whose winning probability is below this become 255; 0 keeps all.
    """

    unary: str = "scores"
    gt_prob: float = 0.7
    gaussian_sxy: float = 1.0
    gaussian_compat: float = 3.0
    bilateral_sxy: float = 67.0
    bilateral_srgb: float = 3.0
    bilateral_compat: float = 4.0
    iterations: int = 10
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        _require(self.unary in ("labels", "scores"), f"unary {self.unary!r}: choose labels or scores")
        _require(0 < self.gt_prob < 1, f"gt_prob {self.gt_prob}: it lies between 0 and 1")
        _require(self.iterations >= 1, f"iterations {self.iterations}: 1 or more")
        _require(0 <= self.min_confidence <= 1, f"minimum confidence {self.min_confidence}: it lies in [0, 1]")
        widths = (self.gaussian_sxy, self.bilateral_sxy, self.bilateral_srgb)
        _require(min(widths) > 0, f"CRF standard deviations {widths}: each is above 0")


CRF_PRESETS: dict[str, CrfSettings] = {
    "clip-es": CrfSettings(),
    "semples-voc": CrfSettings("labels", 0.7, 4.0, 3.0, 83.0, 5.0, 3.0),
    "semples-coco": CrfSettings("labels", 0.7, 3.0, 3.0, 50.0, 5.0, 10.0),
}


@dataclass(frozen=True)
class WorldSettings:
    """The built-in rendered world.

    Attributes:
        seed: Seeds everything that is drawn.
        num_images: Scenes to render.
        size: Side of the square images in pixels.
        max_objects: Most objects in a scene; at least one.
        bias: In [0, 1]: share of images in which an object stands on its own background.
        pairing: Seeds the permutation of which background goes with which object; 0 is the natural one.
    """

    seed: int = 0
    num_images: int = 200
    size: int = 64
    max_objects: int = 2
    bias: float = 0.9
    pairing: int = 0

    def __post_init__(self) -> None:
        _require(self.seed >= 0, f"seed {self.seed}: 0 or more")
        _require(self.pairing >= 0, f"pairing {self.pairing}: 0 or more")
        _require(self.num_images >= 1, f"num_images {self.num_images}: 1 or more")
        _require(16 <= self.size <= 1024, f"size {self.size}: 16 to 1024 pixels")
        _require(1 <= self.max_objects <= 4, f"objects per image {self.max_objects}: 1 to 4")
        _require(0 <= self.bias <= 1, f"bias {self.bias}: it lies in [0, 1]")


SIMILARITIES = ("clamp", "half")
REPULSIONS = ("log-s", "log-one-minus-s")
PROMPT_STARTS = ("uniform", "tokens")
POOLINGS = ("max", "avg")
PUBLISHED_RAND_AUGMENT = "rand-m9-mstd0.5-inc1"
# timm passes over a section that it does not know, or stops at an assertion.
RAND_AUGMENT = r"rand(-(m\d+|n\d+|p(0(\.\d+)?|1(\.0+)?)|mstd\d+(\.\d+)?|mmax\d+|inc[01]|t(weights|3a|3aw)))*"


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
    plateau_epochs: int = 0

    def __post_init__(self) -> None:
        _require(self.prompt_length >= 1, f"prompt length {self.prompt_length}: 1 or more")
        _require(min(self.epochs, self.batch_size, self.views) >= 1, "epochs, batch size and views: 1 or more")
        _require(self.learning_rate > 0, f"learning rate {self.learning_rate}: above 0")
        _require(self.lambda_t >= 0, f"lambda_t {self.lambda_t}: 0 or more")
        _require(self.repulsion in REPULSIONS, f"repulsion {self.repulsion!r}: choose one of {', '.join(REPULSIONS)}")
        _require(
            self.similarity in SIMILARITIES, f"similarity {self.similarity!r}: choose one of {', '.join(SIMILARITIES)}"
        )
        _require(self.start in PROMPT_STARTS, f"start {self.start!r}: choose one of {', '.join(PROMPT_STARTS)}")
        _require(self.region_epsilon >= 0, f"region epsilon {self.region_epsilon}: 0 or more")
        _require(self.region_sharpness >= 0, f"region sharpness {self.region_sharpness}: 0 or more")
        _require(0 < self.region_border < 1, f"region border {self.region_border}: it lies in (0, 1)")
        _require(0 < self.crop_scale <= 1, f"crop scale {self.crop_scale}: it lies in (0, 1]")
        _require(self.plateau_epochs >= 0, f"plateau epochs {self.plateau_epochs}: 0 (never stop early) or more")


PROMPT_PRESETS: dict[str, PromptSettings] = {
    "own": PromptSettings(),
    "voc12": PromptSettings(
        lambda_t=0.02,
        repulsion="log-s",
        similarity="clamp",
        start="uniform",
        learning_rate=0.1,
        region_sharpness=0.0,
        crop_scale=0.08,
    ),
    "coco14": PromptSettings(
        lambda_t=0.01,
        repulsion="log-s",
        similarity="clamp",
        start="uniform",
        learning_rate=0.01,
        region_sharpness=0.0,
        crop_scale=0.08,
    ),
}


@dataclass(frozen=True)
class GeneratorSettings:
    """Training of the mask generator: initial weights, matching (a) and refinement (c).

    Attributes:
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
    lambda_r: float = 0.1
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
        _require(self.reduction >= 1, f"reduction {self.reduction}: 1 or more")
        _require(self.pooling in POOLINGS, f"pooling {self.pooling!r}: choose one of {', '.join(POOLINGS)}")
        _require(
            min(self.epochs, self.batch_size, self.micro_batch) >= 1, "epochs, batch size and micro batch: 1 or more"
        )
        _require(min(self.initial_learning_rate, self.learning_rate) > 0, "learning rates: above 0")
        _require(min(self.lambda_b, self.lambda_r) >= 0, "lambda_b and lambda_r: 0 or more")
        _require(min(self.residual, self.region_sharpness) >= 0, "residual and region sharpness: 0 or more")
        _require(
            self.similarity in SIMILARITIES, f"similarity {self.similarity!r}: choose one of {', '.join(SIMILARITIES)}"
        )
        _require(self.region_epsilon >= 0, f"region epsilon {self.region_epsilon}: 0 or more")
        _require(0 < self.crop_scale <= 1, f"crop scale {self.crop_scale}: it lies in (0, 1]")
        _require(
            not self.rand_augment or re.fullmatch(RAND_AUGMENT, self.rand_augment) is not None,
            f"RandAugment {self.rand_augment!r}: as timm writes it, such as {PUBLISHED_RAND_AUGMENT!r}; '' for none",
        )
        _require(0 <= self.erasing <= 1, f"erasing {self.erasing}: a probability, it lies in [0, 1]")
        _require(0 <= self.drop_path < 1, f"drop path {self.drop_path}: it lies in [0, 1)")
        _require(
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
