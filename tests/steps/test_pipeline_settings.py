"""Settings that go together: each preset whole, and what is changed is changed everywhere."""

import pytest

from semples_cli.config import CRF_PRESETS, GENERATOR_PRESETS, PROMPT_PRESETS
from semples_cli.errors import SettingsError
from semples_cli.steps.pipeline_settings import PRESET_CRF, PRESET_VIEWS, pipeline_settings


def test_every_preset_has_all_its_parts():
    assert set(PRESET_VIEWS) == set(PRESET_CRF) == set(GENERATOR_PRESETS) == set(PROMPT_PRESETS)
    assert set(PRESET_CRF.values()) <= set(CRF_PRESETS)


@pytest.mark.parametrize("preset", PRESET_VIEWS)
def test_a_preset_is_that_of_the_single_commands(preset):
    settings = pipeline_settings(preset)
    assert settings.prompts == PROMPT_PRESETS[preset]
    assert settings.generator == GENERATOR_PRESETS[preset]
    assert (settings.generator_cams.scales, settings.generator_cams.flips) == PRESET_VIEWS[preset]
    assert settings.crf == CRF_PRESETS[PRESET_CRF[preset]]
    assert (settings.cams.affinity_layers, settings.generator_cams.affinity_layers) == ("last:8", "none")


def test_the_published_crf_of_semples_goes_with_the_published_presets():
    assert pipeline_settings("voc12").crf == CRF_PRESETS["semples-voc"]
    assert pipeline_settings("coco14").crf == CRF_PRESETS["semples-coco"]


def test_what_concerns_several_stages_is_changed_in_all():
    settings = pipeline_settings(size=64, epochs=3, background_score=0.2, region_epsilon=0.01)
    assert settings.prompts.epochs == settings.generator.epochs == 3
    assert settings.generator.region_epsilon == 0.01
    assert settings.prompts.region_epsilon == PROMPT_PRESETS["own"].region_epsilon  # another one, of finished maps
    for cams in (settings.cams, settings.generator_cams):
        assert (cams.size, cams.background_score) == (64, 0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "best"}, "preset 'best': choose one of own, voc12, coco14"),
        ({"epochs": 0}, "1 or more"),
        ({"size": 0}, "1 or more"),
        ({"region_epsilon": -1.0}, "0 or more"),
        ({"background_score": 2}, "it lies in"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        pipeline_settings(**changes)
