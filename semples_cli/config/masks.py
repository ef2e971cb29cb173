"""Settings of CLIP, of CAMs, of the dense CRF and of the built-in world."""

from dataclasses import dataclass

from semples_cli.config.require import require

CLEAN_TEMPLATE = "a clean origami {}."
DEFAULT_MODEL = "ViT-B-16"
DEFAULT_WEIGHTS = "openai"
DEFAULT_BACKGROUND_SCORE = 0.4
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MASK_MODES = ("palette", "L")
CRF_BACKENDS = ("auto", "sparse", "pydensecrf2")


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
        require(self.precision in PRECISIONS, f"precision {self.precision!r}: choose one of {', '.join(PRECISIONS)}")
        require(
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
        min_confidence: In [0, 1]: pixels whose winner has a smaller share of the two largest scores become 255; 0 keeps
            all.
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
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.min_confidence <= 1, f"minimum confidence {self.min_confidence}: it lies in [0, 1]")
        require(self.size >= 1, f"size {self.size}: give the longest side in pixels, 1 or more")
        require(
            bool(self.scales) and all(0 < s <= 4 for s in self.scales), f"scales {self.scales}: each lies in (0, 4]"
        )
        require("{}" in self.template, f"template {self.template!r}: it needs '{{}}' where the class goes")
        require(0 <= self.background_score <= 1, f"background score {self.background_score}: it lies in [0, 1]")
        require(0 <= self.box_threshold <= 1, f"box threshold {self.box_threshold}: it lies in [0, 1]")
        require(0 <= self.affinity_steps <= 4, f"affinity steps {self.affinity_steps}: 0 to 4")
        require(self.batch_size >= 1, f"batch size {self.batch_size}: 1 or more")


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
        backend: 'sparse' (numpy and scipy), 'pydensecrf2', or 'auto': the faster one for the number of labels, of those
            that are installed. Both give the same masks but for about one pixel in two million.
        max_pixels: Images of more pixels are inferred at this size, and their probabilities enlarged; None: never.
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
    backend: str = "auto"
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        require(self.unary in ("labels", "scores"), f"unary {self.unary!r}: choose labels or scores")
        require(0 < self.gt_prob < 1, f"gt_prob {self.gt_prob}: it lies between 0 and 1")
        require(self.iterations >= 1, f"iterations {self.iterations}: 1 or more")
        require(0 <= self.min_confidence <= 1, f"minimum confidence {self.min_confidence}: it lies in [0, 1]")
        require(self.backend in CRF_BACKENDS, f"CRF backend {self.backend!r}: choose one of {', '.join(CRF_BACKENDS)}")
        require(
            self.max_pixels is None or self.max_pixels >= 1,
            f"CRF on at most {self.max_pixels} pixels: 1 or more, or leave it out",
        )
        widths = (self.gaussian_sxy, self.bilateral_sxy, self.bilateral_srgb)
        require(min(widths) > 0, f"CRF standard deviations {widths}: each is above 0")


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
        require(self.seed >= 0, f"seed {self.seed}: 0 or more")
        require(self.pairing >= 0, f"pairing {self.pairing}: 0 or more")
        require(self.num_images >= 1, f"num_images {self.num_images}: 1 or more")
        require(16 <= self.size <= 1024, f"size {self.size}: 16 to 1024 pixels")
        require(1 <= self.max_objects <= 4, f"objects per image {self.max_objects}: 1 to 4")
        require(0 <= self.bias <= 1, f"bias {self.bias}: it lies in [0, 1]")
