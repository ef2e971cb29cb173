"""The tiny CLIP in the package, and the settings that suit its 64-pixel world."""

from pathlib import Path

from semples_cli.config import CamSettings

# Hand-written for photographs, so three of our ten backgrounds are not among them: as it goes with real data.
DEMO_BACKGROUND_WORDS = "voc"

# Chosen on the world of seed 0; every figure that we give is of other seeds.
DEMO_CAM_SETTINGS = CamSettings(
    size=64,
    template="a photo of a {}.",
    affinity_layers="first:1",
    batch_size=32,
)


def model_dir() -> Path:
    """Directory of the tiny CLIP, to be given as `--weights`."""
    return Path(__file__).parent / "weights"
