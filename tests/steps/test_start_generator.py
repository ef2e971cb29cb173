"""What a mask generator begins with: nothing, a ViT, a whole checkpoint of others, a file of ours; every refusal."""

from dataclasses import replace

import pytest
import torch
from generator_files import CLASS_SET, SETTINGS, samples_of
from safetensors.torch import save_file

from semples_cli.artifacts.generator_file import read_generator
from semples_cli.engine.generators.weaktr import WeakTr
from semples_cli.errors import ArtifactError, EngineError, SettingsError
from semples_cli.steps.generator_weights import load_generator
from semples_cli.steps.progress import silent
from semples_cli.steps.start_generator import begin_generator, continue_generator, take_initial
from semples_cli.steps.train_generator import train_generator
from semples_cli.types import ClassSet

WEAKTR = replace(SETTINGS, kind="weaktr", vit="small_patch4_64", residual=0.0, initial_learning_rate=1e-3)


def official(network):
    """The state dict of a network under the official names."""
    renamed = {"fusion.feature_score": "attn_feat_ffn", "fusion.map_weight": "attn_head_ffn"}
    state = {}
    for name, tensor in network.state_dict().items():
        if name == "vit.reg_token":
            name = "cls_token"
        for ours, theirs in renamed.items():
            name = name.replace(ours, f"adaptive_attention_fusion.{theirs}")
        state[name.removeprefix("vit.")] = tensor
    width = network.shape["width"]
    return {**state, "norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}


def small_network(num_classes=3, reduction=8):
    torch.manual_seed(5)
    return WeakTr(8, 32, 8, 2, 32, num_classes, reduction)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "official.pth"
    torch.save({"model": official(small_network())}, path)
    return path


@pytest.fixture
def train(photos, clip_engine, tmp_path):
    def run(stage="initial", name=None, settings=WEAKTR, **options):
        if stage == "initial":
            options.setdefault("start", "scratch")
        out = tmp_path / f"{name or stage}.safetensors"
        return train_generator(
            stage, samples_of(photos), CLASS_SET, clip_engine, out, settings, progress=silent, **options
        )

    run.folder = tmp_path
    return run


def test_weaktr_is_trained_whole_at_first_and_its_head_and_fusion_after(train, clip_engine):
    initial = train()
    assert (initial.kind, initial.stage) == ("weaktr", "initial")
    assert set(initial.curves) == {"coarse", "fine", "tokens", "loss"}
    fresh = begin_generator(clip_engine, CLASS_SET, WEAKTR, "scratch")[0].network.state_dict()
    moved = {name for name, tensor in initial.tensors.items() if not (tensor == fresh[name].numpy()).all()}
    assert {"vit.patch_embed.proj.weight", "vit.blocks.3.mlp.fc2.weight", "vit.reg_token", "head.weight"} <= moved
    for stage, options in (("matched", {}), ("refined", {"background_words": ("sea",)})):
        later = train(stage, initial=train.folder / "initial.safetensors", **options)
        assert later.kind == "weaktr"
        changed = {name for name in later.tensors if not (later.tensors[name] == initial.tensors[name]).all()}
        assert changed
        assert all(name.startswith(("head.", "fusion.")) for name in changed)


def test_one_seed_gives_the_same_weights_and_a_kept_file_is_kept(train):
    notes = []
    first, other = train(name="a"), train(name="b")
    assert first.sha256 == other.sha256
    train(name="a", note=notes.append)
    assert any("kept" in note for note in notes)
    assert train(name="c", settings=replace(WEAKTR, seed=9)).sha256 != first.sha256


def test_the_file_holds_all_and_loads_to_the_same_maps(train, clip_engine):
    train()
    path = train.folder / "initial.safetensors"
    generator, weights = load_generator(path, clip_engine, CLASS_SET)
    assert weights.record["kind"] == generator.kind == "weaktr"
    assert (generator.patch_size, weights.shape["image_size"]) == (4, 64)
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    again, _ = load_generator(path, clip_engine, CLASS_SET)
    with torch.no_grad():
        assert torch.equal(generator.class_maps(pixels).fine, again.class_maps(pixels).fine)


def test_an_official_checkpoint_is_taken_over_as_it_is(train, checkpoint, clip_engine):
    notes = []
    weights = train(start=checkpoint, note=notes.append)
    assert any("a whole WeakTr, taken over as it is; nothing is trained" in note for note in notes)
    assert weights.curves == {}
    assert (weights.shape["pooling"], weights.shape["reduction"]) == ("max", 8)
    network = small_network()
    for name, tensor in network.state_dict().items():
        assert torch.equal(torch.from_numpy(weights.tensors[name]), tensor), name
    matched = train("matched", initial=train.folder / "initial.safetensors", settings=SETTINGS)
    assert matched.shape == weights.shape


def test_a_vit_is_where_training_starts(train, tmp_path, clip_engine):
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    vit = VisionTransformer(img_size=64, patch_size=4, embed_dim=192, depth=4, num_heads=3)
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    generator, facts, whole = begin_generator(clip_engine, CLASS_SET, WEAKTR, tmp_path / "vit.safetensors")
    assert not whole
    assert torch.equal(generator.network.vit.blocks[2].attn.qkv.weight, vit.blocks[2].attn.qkv.weight)
    scratch_facts = begin_generator(clip_engine, CLASS_SET, WEAKTR, "scratch")[1]
    assert facts["start"] != scratch_facts["start"]
    assert train(start=tmp_path / "vit.safetensors").sha256 != train(name="other").sha256


def test_weights_of_timm_come_from_the_cache_and_are_said_to_be_missing(clip_engine, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, name: None)
    settings = replace(WEAKTR, vit="deit_small_patch16_224")
    for start in (None, "timm"):
        with pytest.raises(
            EngineError, match=r"deit_small_patch16_224 are not on this machine.*resolve/main/model\.saf"
        ):
            begin_generator(clip_engine, CLASS_SET, settings, start)
    with pytest.raises(EngineError, match="no pretrained weights of small_patch4_64: give a file by --start PATH"):
        begin_generator(clip_engine, CLASS_SET, WEAKTR, "timm")
    asked = []
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"x")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: asked.append(names) or str(broken))
    with pytest.raises(EngineError, match=r"model\.safetensors: cannot be read as weights"):
        begin_generator(clip_engine, CLASS_SET, settings, None)
    assert asked == [("timm/deit_small_patch16_224.fb_in1k", "model.safetensors")]


def test_a_clip_head_starts_from_nothing_else(clip_engine):
    with pytest.raises(SettingsError, match="leave scratch out, or choose the generator weaktr"):
        begin_generator(clip_engine, CLASS_SET, SETTINGS, "scratch")


@pytest.mark.parametrize(("state", "message"), [({"a": torch.zeros(1)}, "cls_token is missing"), (None, "4 classes")])
def test_a_file_that_does_not_fit_is_named(clip_engine, tmp_path, state, message):
    path = tmp_path / "other.pth"
    torch.save(state or official(small_network(4)), path)
    with pytest.raises(EngineError, match=f"other.pth: .*{message}"):
        begin_generator(clip_engine, CLASS_SET, WEAKTR, path)


def test_a_checkpoint_that_does_not_say_its_pooling(clip_engine, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(official(small_network(reduction=2)), path)
    with pytest.raises(SettingsError, match="does not say its pooling"):
        begin_generator(clip_engine, CLASS_SET, WEAKTR, path)


def test_what_a_file_says_of_its_fusion_wins(train, clip_engine):
    train(settings=replace(WEAKTR, pooling="avg", reduction=4))
    path = train.folder / "initial.safetensors"
    generator, settings, facts = continue_generator(clip_engine, CLASS_SET, SETTINGS, path)
    assert (settings.kind, settings.pooling, settings.reduction, settings.residual) == ("weaktr", "avg", 4, 0.0)
    assert facts["initial"] == read_generator(path).sha256
    assert generator.network.pooling == "avg"


def test_initial_weights_are_copied_to_where_they_are_looked_for(train, clip_engine, tmp_path):
    train()
    given, out = train.folder / "initial.safetensors", tmp_path / "deep" / "generator_initial.safetensors"
    take_initial(given, out, clip_engine, CLASS_SET)
    assert out.read_bytes() == given.read_bytes()
    before = out.stat().st_mtime_ns
    take_initial(given, out, clip_engine, CLASS_SET)
    take_initial(given, given, clip_engine, CLASS_SET)
    assert out.stat().st_mtime_ns == before


def test_other_stages_and_classes_are_no_initial_weights(train, clip_engine, tmp_path):
    train()
    train("matched", initial=train.folder / "initial.safetensors")
    with pytest.raises(SettingsError, match="weights of stage 'matched'; give those of 'initial'"):
        take_initial(train.folder / "matched.safetensors", tmp_path / "x", clip_engine, CLASS_SET)
    with pytest.raises(ArtifactError, match="--classes"):
        take_initial(train.folder / "initial.safetensors", tmp_path / "x", clip_engine, ClassSet(("a", "b", "c")))
