"""The tiny CLIP in the package, and the settings that suit its 64-pixel world.

All of them were chosen on the world of seed 0; every figure that we give is of other seeds.
"""

from pathlib import Path

from semples_cli.config import CamSettings, CrfSettings, GeneratorSettings, PromptSettings

DEMO_BACKGROUND_WORDS = "voc"

DEMO_CAM_SETTINGS = CamSettings(
    size=64,
    scales=(0.75, 1.0, 1.5),
    flips=True,
    template="a photo of a {}.",
    affinity_layers="first:1",
    box_threshold=0.7,
    batch_size=32,
)
DEMO_GENERATOR_CAM_SETTINGS = CamSettings(
    size=64, scales=(0.75, 1.0, 1.5), flips=True, background_score=0.6, affinity_layers="none", batch_size=32
)
DEMO_GENERATOR_SETTINGS = GeneratorSettings(
    epochs=8, batch_size=16, micro_batch=16, initial_learning_rate=0.02, learning_rate=0.1
)
DEMO_PROMPT_SETTINGS = PromptSettings(epochs=30, batch_size=64)

# semples-coco with a quarter of its widths, for images of 64 pixels, and a colour width above the renderer's grain:
# the best of the presets at 1, 1/4 and 1/8 of their widths, with colour widths 3 to 30.
DEMO_CRF_SETTINGS = CrfSettings(
    unary="labels",
    gaussian_sxy=0.75,
    gaussian_compat=3.0,
    bilateral_sxy=12.5,
    bilateral_srgb=8.0,
    bilateral_compat=10.0,
)


def model_dir() -> Path:
    """Directory of the tiny CLIP, to be given as `--weights`."""
    return Path(__file__).parent / "weights"
