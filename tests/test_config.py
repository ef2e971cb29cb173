"""Settings refuse values that cannot be, and the presets are the published ones."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from semples_cli.config import (
    CRF_PRESETS,
    GENERATOR_PRESETS,
    PROMPT_PRESETS,
    CamSettings,
    CrfSettings,
    EngineSettings,
    GeneratorSettings,
    PromptSettings,
    WorldSettings,
)
from semples_cli.errors import SettingsError


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (EngineSettings, {"precision": "int8"}, "choose one of auto, fp32, bf16, fp16"),
        (EngineSettings, {"device": "tpu"}, "cuda:N"),
        (CamSettings, {"size": 0}, "longest side in pixels"),
        (CamSettings, {"scales": ()}, r"\(0, 4\]"),
        (CamSettings, {"scales": (1.0, 5.0)}, r"\(0, 4\]"),
        (CamSettings, {"template": "a photo"}, "it needs '{}'"),
        (CamSettings, {"background_score": 1.2}, r"\[0, 1\]"),
        (CamSettings, {"box_threshold": -0.1}, r"\[0, 1\]"),
        (CamSettings, {"affinity_steps": 5}, "0 to 4"),
        (CamSettings, {"batch_size": 0}, "1 or more"),
        (CrfSettings, {"unary": "soft"}, "labels or scores"),
        (CrfSettings, {"gt_prob": 1.0}, "between 0 and 1"),
        (CrfSettings, {"iterations": 0}, "1 or more"),
        (CrfSettings, {"min_confidence": 2}, r"\[0, 1\]"),
        (CrfSettings, {"bilateral_srgb": 0}, "above 0"),
        (CrfSettings, {"backend": "fast"}, "choose one of auto, sparse, pydensecrf2"),
        (CrfSettings, {"max_pixels": 0}, "1 or more, or leave it out"),
        (GeneratorSettings, {"rand_augment": "rand-x9"}, "as timm writes it, such as 'rand-m9-mstd0.5-inc1'"),
        (GeneratorSettings, {"rand_augment": "augmix-m3"}, "'' for none"),
        (GeneratorSettings, {"erasing": 1.1}, "erasing 1.1: a probability"),
        (GeneratorSettings, {"erasing": -0.1}, r"\[0, 1\]"),
        (GeneratorSettings, {"drop_path": 1.0}, r"drop path 1.0: it lies in \[0, 1\)"),
        (GeneratorSettings, {"refine_batch_size": 0}, "batch size of the refinement 0: 1 or more"),
        (WorldSettings, {"seed": -1}, "seed -1: 0 or more"),
        (WorldSettings, {"pairing": -1}, "pairing -1: 0 or more"),
        (WorldSettings, {"num_images": 0}, "1 or more"),
        (WorldSettings, {"size": 8}, "16 to 1024"),
        (WorldSettings, {"max_objects": 5}, "1 to 4"),
        (WorldSettings, {"bias": 1.5}, r"\[0, 1\]"),
    ],
)
def test_refusals(settings, values, message):
    with pytest.raises(SettingsError, match=message):
        settings(**values)


def test_devices_by_number():
    assert EngineSettings(device="cuda:1").device == "cuda:1"


def test_presets_are_the_published_ones():
    published = {
        "clip-es": CrfSettings("scores", 0.7, 1.0, 3.0, 67.0, 3.0, 4.0, 10, 0.0),
        "semples-voc": CrfSettings("labels", 0.7, 4.0, 3.0, 83.0, 5.0, 3.0, 10, 0.0),
        "semples-coco": CrfSettings("labels", 0.7, 3.0, 3.0, 50.0, 5.0, 10.0, 10, 0.0),
    }
    assert published == CRF_PRESETS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt_length": 0}, "prompt length 0: 1 or more"),
        ({"epochs": 0}, "1 or more"),
        ({"batch_size": 0}, "1 or more"),
        ({"views": 0}, "1 or more"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"lambda_t": -0.1}, "lambda_t -0.1: 0 or more"),
        ({"repulsion": "log"}, "choose one of log-s, log-one-minus-s"),
        ({"similarity": "cosine"}, "choose one of clamp, half"),
        ({"start": "zero"}, "choose one of uniform, tokens"),
        ({"region_epsilon": -1e-4}, "0 or more"),
        ({"region_sharpness": -1.0}, "region sharpness -1.0: 0 or more"),
        ({"min_images": 0}, "min images 0: 1 or more"),
        ({"region_border": 0.0}, r"region border 0.0: it lies in \(0, 1\)"),
        ({"region_border": 1.0}, r"\(0, 1\)"),
        ({"crop_scale": 0.0}, r"\(0, 1\]"),
        ({"crop_scale": 1.1}, r"\(0, 1\]"),
        ({"plateau_epochs": -1}, r"plateau epochs -1: 0 \(never stop early\) or more"),
    ],
)
def test_refusals_of_prompt_settings(values, message):
    with pytest.raises(SettingsError, match=message):
        PromptSettings(**values)


@pytest.mark.parametrize(("preset", "learning_rate", "lambda_t"), [("voc12", 0.1, 0.02), ("coco14", 0.01, 0.01)])
def test_prompt_presets_are_the_published_ones(preset, learning_rate, lambda_t):
    """Of the released code, whose prompts are trained to the end: nothing stops them early."""
    published = PromptSettings(
        prompt_length=30,
        epochs=60,
        batch_size=128,
        learning_rate=learning_rate,
        weight_decay=0.03,
        lambda_t=lambda_t,
        repulsion="log-s",
        similarity="clamp",
        start="uniform",
        views=4,
        region_epsilon=1e-4,
        region_sharpness=0.0,
        crop_scale=0.08,
        min_images=1,
        seed=504,
        plateau_epochs=0,
    )
    assert published == PROMPT_PRESETS[preset]


@pytest.mark.parametrize(
    ("preset", "own"),
    [
        ("voc12", {"batch_size": 64, "learning_rate": 5.12e-4, "lambda_b": 2.4, "lambda_r": 0.05}),
        (
            "coco14",
            {
                "batch_size": 32,
                "learning_rate": 5.12e-6,
                "lambda_b": 0.75,
                "lambda_r": 0.2,
                "reduction": 4,
                "pooling": "avg",
                "refine_batch_size": 24,
            },
        ),
    ],
)
def test_generator_presets_are_the_published_ones(preset, own):
    """SemPLeS' schedule and augmentation; what it has no figure for is left to the defaults."""
    published = {
        "epochs": 60,
        "weight_decay": 0.03,
        "similarity": "clamp",
        "region_epsilon": 0.1,
        "region_sharpness": 0.0,
        "crop_scale": 0.08,
        "rand_augment": "rand-m9-mstd0.5-inc1",
        "erasing": 0.25,
        "drop_path": 0.1,
        "seed": 504,
    }
    found = asdict(GENERATOR_PRESETS[preset])
    assert {name: found[name] for name in published | own} == published | own


def test_refinement_takes_its_own_batch_size_where_there_is_one():
    assert GENERATOR_PRESETS["coco14"].for_refinement().batch_size == 24
    assert GENERATOR_PRESETS["voc12"].for_refinement().batch_size == 64


def test_config_needs_nothing_but_the_standard_library():
    code = (
        "import sys; import semples_cli.config; "
        "sys.exit(','.join({'numpy', 'torch', 'typer', 'rich', 'PIL'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
