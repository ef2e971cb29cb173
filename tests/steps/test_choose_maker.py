"""What makes CAMs: seeds with words or prompts, or a generator; each looks as its engine part alone does."""

from dataclasses import replace

import numpy as np
import pytest
from generator_files import CLASS_SET, prompts_of

from semples_cli.artifacts.generator_file import write_generator
from semples_cli.config import CamSettings, GeneratorSettings
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.background_texts import UNLEARNED
from semples_cli.steps.choose_maker import choose_maker, competing_prompts
from semples_cli.steps.generator_weights import pack_generator
from semples_cli.types import ClassSet

SETTINGS = CamSettings(size=40, batch_size=2, background_words=("sky", "boat"))


@pytest.fixture
def look():
    """Maps of one fixed picture, with two of its classes."""
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    return lambda maker: maker.maps([image], [(1, 3)])[0]


@pytest.fixture
def generator_file(clip_engine, tmp_path):
    generator = ClipGenerator(clip_engine, build_clip_head(clip_engine, len(CLASS_SET), GeneratorSettings()))
    packed = pack_generator(generator, "refined", CLASS_SET, settings={}, curves={}, fingerprint="f")
    return write_generator(tmp_path / "g.safetensors", packed)


def test_without_anything_learned_words_compete(clip_engine, look):
    notes = []
    maker = choose_maker(clip_engine, CLASS_SET, SETTINGS, note=notes.append)
    np.testing.assert_array_equal(look(maker), look(SeedGenerator(clip_engine, CLASS_SET, SETTINGS)))
    assert (maker.background_words, maker.record) == (("sky",), {})
    assert notes == ["background words that are classes here are left out: boat"]


def test_prompts_take_the_place_of_the_words(clip_engine, look):
    notes, prompts = [], prompts_of(clip_engine)
    maker = choose_maker(clip_engine, CLASS_SET, SETTINGS, prompts=prompts, note=notes.append)
    settings = replace(SETTINGS, background_words=())
    own = SeedGenerator(clip_engine, CLASS_SET, settings, competing_prompts(clip_engine, prompts, CLASS_SET))
    np.testing.assert_array_equal(look(maker), look(own))
    assert (maker.settings, maker.background_words, notes) == (settings, (), [])
    alone = choose_maker(clip_engine, CLASS_SET, settings)
    assert np.abs(look(maker) - look(alone)).max() > 1e-4


def test_the_record_tells_prompts_apart(clip_engine):
    def record(**changes):
        return choose_maker(clip_engine, CLASS_SET, SETTINGS, prompts=prompts_of(clip_engine, **changes)).record

    assert set(record()) == {"kind", "sha256", UNLEARNED}
    assert (record()["kind"], len(record()["sha256"])) == ("learned prompts", 64)
    assert record() == record()
    assert record() != record(seed=1)
    assert record() != record(settings={UNLEARNED: ["cat"]})


def test_classes_without_a_prompt_compete_alone(clip_engine, look):
    prompts = prompts_of(clip_engine, settings={UNLEARNED: list(CLASS_SET.names)})
    competing = competing_prompts(clip_engine, prompts, CLASS_SET)
    assert competing.usable.tolist() == [False, False, False]
    alone = choose_maker(clip_engine, CLASS_SET, replace(SETTINGS, background_words=()))
    maker = choose_maker(clip_engine, CLASS_SET, SETTINGS, prompts=prompts)
    np.testing.assert_allclose(look(maker), look(alone), atol=1e-5)


def test_a_generator_file_is_loaded(clip_engine, generator_file, look):
    notes = []
    maker = choose_maker(clip_engine, CLASS_SET, SETTINGS, generator_weights=generator_file, note=notes.append)
    assert isinstance(maker, GeneratorCams)
    assert maker.settings == replace(SETTINGS, background_words=(), affinity_layers="none")
    assert (maker.record["kind"], maker.record["stage"]) == ("clip_head", "refined")
    assert look(maker).shape == (2, 3, 5)
    assert notes == []


def test_both_at_once_are_refused(clip_engine, generator_file):
    with pytest.raises(SettingsError, match="leave one out"):
        choose_maker(
            clip_engine, CLASS_SET, SETTINGS, prompts=prompts_of(clip_engine), generator_weights=generator_file
        )


def test_prompts_and_generators_of_others_are_refused(clip_engine, generator_file):
    turned = ClassSet(CLASS_SET.names[::-1])
    with pytest.raises(ArtifactError, match="its class 1 is 'boat', here it is 'dog'"):
        choose_maker(clip_engine, turned, SETTINGS, generator_weights=generator_file)
    with pytest.raises(SettingsError, match="class"):
        choose_maker(clip_engine, turned, SETTINGS, prompts=prompts_of(clip_engine))
    with pytest.raises(SettingsError, match="the prompts were learned with"):
        choose_maker(clip_engine, CLASS_SET, SETTINGS, prompts=prompts_of(clip_engine, weights_hash="0" * 64))
