import pytest

from semples_cli.engine.build import model_config, model_names
from semples_cli.engine.supported import check_supported, reasons_against
from semples_cli.errors import EngineError


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RN50", "its image tower is a ResNet"),
        ("coca_ViT-B-32", "it is a CoCa model"),
        ("ViT-B-16-SigLIP", "its image tower is a timm model"),
        ("ViT-B-16-SigLIP", "SigLIP and CLIPA pool the last one"),
        ("ViT-L-14-CLIPA", "SigLIP and CLIPA pool the last one"),
        ("convnext_base", "its image tower is a timm model"),
        ("roberta-ViT-B-32", "its text tower is a Hugging Face model"),
        ("nllb-clip-base-siglip", "its text tower is a Hugging Face model"),
        ("ViT-H-14-worldwide", "it does not use CLIP's tokenizer"),
    ],
)
def test_others_are_refused_by_name_with_the_reason_and_a_cure(name, reason):
    with pytest.raises(EngineError, match=f"model {name} is not supported: .*{reason}.*Use a ViT CLIP such as"):
        model_config(name)


def test_the_supported_ones_are_vits():
    names = model_names()
    assert {"ViT-B-16", "ViT-B-32", "ViT-L-14-336", "ViT-H-14", "ViT-bigG-14", "ViT-B-16-quickgelu"} <= set(names)
    assert len(names) >= 30
    assert all(name.startswith("ViT-") for name in names)
    assert not [n for n in names if "SigLIP" in n or "CLIPA" in n or "worldwide" in n]


@pytest.mark.parametrize(
    ("vision", "text", "reason"),
    [
        ({"attentional_pool": True}, {}, "pools by attention"),
        ({"scaled_cosine_attn": True}, {}, "scaled cosine attention"),
        ({}, {"no_causal_mask": True}, "not causal"),
        ({}, {"embed_cls": True}, "appends a class token"),
        ({}, {"vocab_size": 32000}, "CLIP's tokenizer"),
        ({}, {"pool_type": "last"}, "does not read the end-of-text token"),
    ],
)
def test_each_reason_of_a_directory_config(vision, text, reason):
    with pytest.raises(EngineError, match=f"model my/dir is not supported: .*{reason}"):
        check_supported("my/dir", {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text})


def test_a_plain_config_has_no_reason_against_it():
    assert reasons_against({"vision_cfg": {"layers": 12}, "text_cfg": {"pool_type": "eos"}}) == ()
