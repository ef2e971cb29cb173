"""Settings of every stage of the pipeline that go together: one preset for own data, one for each published one."""

from dataclasses import dataclass, replace

from semples_cli.config import (
    CRF_PRESETS,
    DEFAULT_BACKGROUND_SCORE,
    GENERATOR_PRESETS,
    PROMPT_PRESETS,
    CamSettings,
    CrfSettings,
    GeneratorSettings,
    PromptSettings,
)
from semples_cli.errors import SettingsError

DEFAULT_PRESET = "own"
DEFAULT_SIZE = CamSettings().size

# Scales and flips that the published masks of each preset were made with.
PRESET_VIEWS: dict[str, tuple[tuple[float, ...], bool]] = {
    "own": ((1.0,), False),
    "voc12": ((1.0, 1.2), True),
    "coco14": ((1.0, 0.8, 1.2), True),
}
PRESET_CRF = {"own": "semples-voc", "voc12": "semples-voc", "coco14": "semples-coco"}


@dataclass(frozen=True)
class PipelineSettings:
    """How the stages run.

    Attributes:
        prompts: Learning of the prompts.
        generator: Training of the mask generator, all its stages.
        cams: The seeds; background words are not used.
        generator_cams: The maps of the mask generator.
        crf: The CRF.
    """

    prompts: PromptSettings
    generator: GeneratorSettings
    cams: CamSettings
    generator_cams: CamSettings
    crf: CrfSettings


def pipeline_settings(
    preset: str = DEFAULT_PRESET,
    *,
    size: int = DEFAULT_SIZE,
    epochs: int | None = None,
    background_score: float = DEFAULT_BACKGROUND_SCORE,
    region_epsilon: float | None = None,
    min_images: int | None = None,
) -> PipelineSettings:
    """The settings of a preset, with what concerns several stages changed in all of them.

    Args:
        preset: 'own', 'voc12' or 'coco14'.
        size: Longest side that CLIP sees, in pixels.
        epochs: Passes over the images, of every training; None: the preset's.
        background_score: In [0, 1]: what the argmax gives to background.
        region_epsilon: ε of the mask generator's regions, in all its stages; None: the preset's.
        min_images: Images that a class needs for its prompt to be used; None: the preset's.

    Raises:
        SettingsError: No such preset, or a value out of range.
    """
    if preset not in PRESET_VIEWS:
        msg = f"preset {preset!r}: choose one of {', '.join(PRESET_VIEWS)}"
        raise SettingsError(msg)
    scales, flips = PRESET_VIEWS[preset]
    prompts, generator = PROMPT_PRESETS[preset], GENERATOR_PRESETS[preset]
    if epochs is not None:
        prompts, generator = replace(prompts, epochs=epochs), replace(generator, epochs=epochs)
    if region_epsilon is not None:
        generator = replace(generator, region_epsilon=region_epsilon)
    if min_images is not None:
        prompts = replace(prompts, min_images=min_images)
    cams = CamSettings(size=size, background_score=background_score)
    return PipelineSettings(
        prompts=prompts,
        generator=generator,
        cams=cams,
        generator_cams=replace(cams, scales=scales, flips=flips, affinity_layers="none"),
        crf=CRF_PRESETS[PRESET_CRF[preset]],
    )
