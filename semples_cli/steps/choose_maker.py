"""Choose what makes the CAMs: training-free seeds with words or with learned prompts, or a trained mask generator."""

from dataclasses import replace
from pathlib import Path

from semples_cli.config import CamSettings
from semples_cli.engine.cam_maker import CamMaker
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.engine.seeds import CompetingPrompts, SeedGenerator
from semples_cli.errors import SettingsError
from semples_cli.steps.background_texts import UNLEARNED, prompt_texts, text_facts
from semples_cli.steps.cam_record import Note
from semples_cli.steps.generator_weights import load_generator
from semples_cli.types import ClassSet, PromptSet


def choose_maker(
    engine: ClipEngine,
    class_set: ClassSet,
    settings: CamSettings,
    *,
    prompts: PromptSet | None = None,
    generator_weights: Path | None = None,
    note: Note | None = None,
) -> CamMaker:
    """The maker of CAMs that goes with what was given; its `settings` are those that it reads.

    Args:
        engine: A built CLIP.
        class_set: The classes.
        settings: How CAMs are made.
        prompts: Learned prompts, which take the place of the background words.
        generator_weights: File of a trained mask generator, which reads neither words nor affinity.
        note: Called with a sentence about background words that are left out.

    Raises:
        SettingsError: Both were given, the settings do not go with the model, or the prompts with CLIP or classes.
        ArtifactError: The generator is damaged, or belongs to another CLIP or other classes.
    """
    if prompts is not None and generator_weights is not None:
        msg = "both prompts and a mask generator were given: prompts guide seeds or a training; leave one out"
        raise SettingsError(msg)
    if generator_weights is not None:
        generator, weights = load_generator(generator_weights, engine, class_set)
        own = replace(settings, background_words=(), affinity_layers="none")
        return GeneratorCams(engine, generator, class_set, own, weights.record)
    if prompts is not None:
        competing = competing_prompts(engine, prompts, class_set)
        return SeedGenerator(engine, class_set, replace(settings, background_words=()), competing)
    seeds = SeedGenerator(engine, class_set, settings)
    dropped = [word for word in settings.background_words if word not in seeds.background_words]
    if dropped and note is not None:
        note(f"background words that are classes here are left out: {', '.join(dropped)}")
    return seeds


def competing_prompts(engine: ClipEngine, prompts: PromptSet, class_set: ClassSet) -> CompetingPrompts:
    """Learned prompts as seeds use them, with what tells them from others in a run's record.

    Raises:
        SettingsError: They belong to another CLIP or to other classes.
    """
    texts, facts = prompt_texts(engine, prompts, class_set), text_facts(prompts, ())
    record = {"kind": "learned prompts", "sha256": facts["prompts"], UNLEARNED: facts[UNLEARNED]}
    return CompetingPrompts(texts.features, texts.usable, record)
