"""Files that name their CLIP and classes: what they give to a command, and what they refuse to be given."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semples_cli.cli.learned import LearnedFile
from semples_cli.data.dataset import Dataset, load_dataset
from semples_cli.errors import DataError, EngineError, SettingsError
from semples_cli.types import ClassSet, PromptSet, Sample

OTHER_ORDER = ClassSet(("dog", "bird", "cat", "boat"), ("dog", "bird", "cat", "ship"))


def learned_on(engine=None, **changes):
    record = engine.record if engine is not None else {"model": "ViT-B-16", "weights_sha256": "0" * 64}
    content = PromptSet(
        class_names=OTHER_ORDER.names,
        prompt_names=OTHER_ORDER.prompt_names,
        vectors=np.ones((4, 2, 16), np.float32),
        clip_name=str(record["model"]),
        weights_hash=str(record["weights_sha256"]),
        quick_gelu=bool(record.get("quick_gelu", True)),
    )
    return LearnedFile(Path("p.safetensors"), replace(content, **changes))


def test_the_clip_is_that_of_the_file():
    wanted = learned_on(settings={"engine": {"weights": "there"}}).engine_settings("cpu", "fp32")
    assert (wanted.model, wanted.weights, wanted.quick_gelu) == ("ViT-B-16", "there", True)
    assert (wanted.device, wanted.precision) == ("cpu", "fp32")


def test_weights_may_lie_elsewhere_now():
    learned = learned_on(settings={"engine": {"weights": "there"}})
    assert learned.engine_settings("cpu", "fp32", weights="here").weights == "here"


@pytest.mark.parametrize("settings", [{}, {"engine": "ViT"}, {"engine": {}}], ids=str)
def test_a_file_that_does_not_say_where_its_weights_lie_takes_the_default(settings):
    assert learned_on(settings=settings).engine_settings("cpu", "fp32").weights == "openai"


def test_saying_the_same_again_is_no_conflict():
    wanted = learned_on().engine_settings("cpu", "fp32", model="ViT-B-16", quick_gelu=True)
    assert (wanted.model, wanted.quick_gelu) == ("ViT-B-16", True)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"model": "ViT-L-14"}, r"--model ViT-L-14: p.safetensors was learned with ViT-B-16; leave --model out"),
        ({"quick_gelu": False}, r"--no-quick-gelu: p.safetensors .* leave --no-quick-gelu out"),
    ],
)
def test_another_model_or_activation_is_refused(said, message):
    with pytest.raises(SettingsError, match=message):
        learned_on().engine_settings("cpu", "fp32", **said)


def test_the_clip_is_loaded(clip_engine, clip_dir):
    learned = learned_on(clip_engine)
    engine = learned.load_engine(learned.engine_settings("cpu", "fp32", weights=str(clip_dir)))
    assert engine.record["weights_sha256"] == clip_engine.record["weights_sha256"]


def test_other_weights_are_refused(clip_engine, clip_dir):
    learned = learned_on(clip_engine, weights_hash="f" * 64)
    with pytest.raises(SettingsError, match=r"--weights .*small: p.safetensors was learned with other weights .*ffff…"):
        learned.load_engine(learned.engine_settings("cpu", "fp32", weights=str(clip_dir)))


def test_weights_that_are_gone_are_said_with_the_file_that_needs_them():
    learned = learned_on(settings={"engine": {"weights": "gone/clip.pt"}})
    with pytest.raises(EngineError, match=r"p.safetensors: the CLIP .* from gone/clip.pt, .*say by --weights where"):
        learned.load_engine(learned.engine_settings("cpu", "fp32"))


def dataset(*names):
    return Dataset((Sample("a", Path("a.jpg"), (1, 3)), Sample("b", Path("b.jpg"), ())), ClassSet(names), ("c",))


def test_class_numbers_are_those_of_the_file(capsys):
    taken = learned_on().take_dataset(dataset("boat", "cat", "dog"))
    assert [sample.class_indices for sample in taken.samples] == [(1, 4), ()]  # dog and boat
    assert (taken.class_set, taken.unlabelled) == (OTHER_ORDER, ("c",))
    assert "4 classes, in the order of p.safetensors" in capsys.readouterr().err


def test_one_class_order_is_said_and_it_is_the_true_one(tmp_path, capsys):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,cat\na.jpg,dgo|dog\ngone.jpg,dog\n")
    read = load_dataset([tmp_path])
    assert "classes, in the order of sorted names" in read.notes[-1]
    brought = replace(dataset("boat", "cat", "dog"), notes=read.notes, problems=(("labels.csv:3", "unknown 'dgo'"),))
    learned_on().take_dataset(brought)
    said = capsys.readouterr().err
    assert said.index("read as list-column CSV") < said.index("4 classes, in the order of p.safetensors")
    assert "unknown 'dgo'" in said
    assert said.count("in the order of") == 1


def test_a_dataset_without_any_labelled_image_is_refused():
    with pytest.raises(DataError, match="no image has a label: 1 images"):
        learned_on().take_dataset(replace(dataset("boat", "cat", "dog"), samples=()))


def test_a_label_that_the_file_does_not_have_is_refused():
    message = r"the label of a: unknown class 'boot'; did you mean 'boat'\? \(classes are those of p.safetensors\)"
    with pytest.raises(DataError, match=message):
        learned_on().take_dataset(dataset("boot", "cat", "dog"))


def test_another_class_list_is_refused_and_the_same_is_not(capsys):
    own = replace(dataset("dog", "bird", "cat"), class_set=OTHER_ORDER)
    assert learned_on().take_dataset(own, "classes.txt").samples == own.samples
    with pytest.raises(SettingsError, match=r"--classes list.txt: not the class list that p.safetensors was learned"):
        learned_on().take_dataset(dataset("boat", "cat", "dog"), "list.txt")
    assert capsys.readouterr().out == ""
