"""What the foreground of each class must not look like: learned prompts, or hand-written words in their place."""

import hashlib
from collections.abc import Sequence

import torch

from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.prompts import check_prompts, prompt_features
from semples_cli.errors import SettingsError
from semples_cli.types import PROMPT_TEMPLATE, ClassSet, PromptSet

UNLEARNED = "unlearned_classes"
"""Name in a prompt set's settings of the list of classes whose prompt could not be learned."""


def prompt_texts(engine: ClipEngine, prompts: PromptSet, class_set: ClassSet) -> BackgroundTexts:
    """Features of the learned prompts; those of classes without images are not used.

    Raises:
        SettingsError: They belong to another CLIP or to other classes.
    """
    check_prompts(engine, prompts, class_set)
    listed = prompts.settings.get(UNLEARNED, ())
    unlearned = set(listed) if isinstance(listed, list | tuple) else set()
    usable = torch.tensor([name not in unlearned for name in prompts.class_names])
    return BackgroundTexts(prompt_features(engine, prompts), usable)


def word_texts(engine: ClipEngine, words: Sequence[str], class_set: ClassSet) -> BackgroundTexts:
    """Features of background words, the same for every class; words that are classes are left out.

    Raises:
        SettingsError: No word is left.
    """
    own = {name.casefold() for name in (*class_set.names, *class_set.prompt_names)}
    kept = [word for word in words if word.casefold() not in own]
    if not kept:
        msg = "every background word is the name of a class: give at least one that is none"
        raise SettingsError(msg)
    features = engine.encode_texts([PROMPT_TEMPLATE.replace("{}", word) for word in kept])
    everywhere = features.expand(len(class_set), *features.shape)
    return BackgroundTexts(everywhere, torch.ones(len(class_set), dtype=torch.bool))


def text_facts(prompts: PromptSet | None, words: Sequence[str]) -> dict[str, object]:
    """What tells these texts from others, as JSON values."""
    if prompts is None:
        return {"background_words": list(words)}
    digest = hashlib.sha256(f"{prompts.template}\n{prompts.vectors.shape}\n".encode() + prompts.vectors.tobytes())
    return {"prompts": digest.hexdigest(), UNLEARNED: prompts.settings.get(UNLEARNED, [])}
