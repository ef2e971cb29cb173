"""Say in words what prompts have learned: the nouns and the class whose texts are nearest to each of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from semples_cli.artifacts.prompts_file import PromptTraining
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.prompt_training import epoch_means
from semples_cli.engine.prompts import check_prompts, prompt_features
from semples_cli.errors import SettingsError
from semples_cli.steps.background_texts import UNLEARNED
from semples_cli.steps.learn_prompts import NUM_PAIRS
from semples_cli.types import PromptSet

OWN_CLASS_MARGIN = 0.02
"""Cosine by which a prompt's own class must be nearer to it than every other class before it is warned of."""


@dataclass(frozen=True)
class PromptDescription:
    """What one prompt is near to; similarities are cosines of text features.

    Attributes:
        class_name: The class that the prompt is for.
        learned: False where the class had no image, and the prompt is what it started from.
        nouns: (noun, similarity), the nearest first.
        nearest_class: (class name, similarity) of the class whose label text is nearest.
        own_similarity: Similarity to the label text of its own class.
        describes_own_class: A warning: the prompt stands for the class itself and not for what comes with it. Its own
            class is the nearest by OWN_CLASS_MARGIN, and nearer than any noun that is not that class's name. A synonym
            of the class among the nouns may be nearer still, which the warning cannot tell from a background.
    """

    class_name: str
    learned: bool
    nouns: tuple[tuple[str, float], ...]
    nearest_class: tuple[str, float]
    own_similarity: float
    describes_own_class: bool


def describe_prompts(
    prompts: PromptSet, engine: ClipEngine, nouns: Sequence[str], *, top: int = 5
) -> tuple[PromptDescription, ...]:
    """Find the nearest nouns and the nearest class of each prompt.

    Args:
        prompts: Learned prompts.
        engine: The CLIP that they were learned with.
        nouns: Words to choose from; each is put into the prompts' template.
        top: Nouns to name for each prompt.

    Returns:
        One description for each class, in order.

    Raises:
        SettingsError: The prompts belong to another CLIP, or there is no noun.
    """
    if not nouns or top < 1:
        msg = f"{len(nouns)} nouns of which {top} are asked for: give at least one, and ask for 1 or more"
        raise SettingsError(msg)
    check_prompts(engine, prompts)
    features = prompt_features(engine, prompts)
    to_classes, to_nouns = (
        (features @ engine.encode_texts([prompts.template.replace("{}", word) for word in words]).T).cpu()
        for words in (prompts.prompt_names, nouns)
    )
    listed = prompts.settings.get(UNLEARNED, ())
    unlearned = set(listed) if isinstance(listed, list | tuple) else set()
    return tuple(
        _describe(prompts, k, name not in unlearned, to_classes[k], to_nouns[k], nouns, top)
        for k, name in enumerate(prompts.class_names)
    )


def descriptions_as_dict(described: Sequence[PromptDescription]) -> dict[str, list[dict[str, object]]]:
    """The descriptions as JSON values: {"prompts": [one object for each class, in order]}."""
    return {
        "prompts": [
            {
                "class": each.class_name,
                "learned": each.learned,
                "nouns": [{"noun": noun, "similarity": value} for noun, value in each.nouns],
                "nearest_class": each.nearest_class[0],
                "nearest_class_similarity": each.nearest_class[1],
                "own_similarity": each.own_similarity,
                "describes_own_class": each.describes_own_class,
            }
            for each in described
        ]
    }


def training_as_dict(prompts: PromptSet, training: PromptTraining) -> dict[str, object]:
    """How prompts were learned, as JSON values: {"settings": …, "loss_by_epoch": [a mean, or null, for each epoch]}.

    Args:
        prompts: Learned prompts.
        training: What their file holds beside them. Without the loss of each step, or in a file that does not say the
            number of pairs that it is of, there is no mean; a loss that is no number is null.
    """
    losses = training.curves.get("loss", [])
    num_pairs, batch_size = (prompts.settings.get(name) for name in (NUM_PAIRS, "batch_size"))
    means: list[float] = []
    if isinstance(num_pairs, int) and isinstance(batch_size, int) and min(num_pairs, batch_size) > 0:
        means = epoch_means(losses, num_pairs, batch_size)
    return {
        "settings": dict(prompts.settings),
        "loss_by_epoch": [mean if math.isfinite(mean) else None for mean in means],
    }


def _describe(
    prompts: PromptSet,
    k: int,
    learned: bool,
    to_classes: torch.Tensor,
    to_nouns: torch.Tensor,
    nouns: Sequence[str],
    top: int,
) -> PromptDescription:
    nearest = int(to_classes.argmax())
    order = to_nouns.argsort(descending=True, stable=True).tolist()
    own, own_names = float(to_classes[k]), {prompts.class_names[k].casefold(), prompts.prompt_names[k].casefold()}
    rivals = [float(value) for i, value in enumerate(to_classes) if i != k]
    others = [float(to_nouns[i]) for i in order if nouns[i].casefold() not in own_names]
    is_own = own >= max(rivals, default=-1.0) + OWN_CLASS_MARGIN and own > max(others, default=-1.0)
    return PromptDescription(
        class_name=prompts.class_names[k],
        learned=learned,
        nouns=tuple((nouns[i], float(to_nouns[i])) for i in order[:top]),
        nearest_class=(prompts.class_names[nearest], float(to_classes[nearest])),
        own_similarity=own,
        describes_own_class=learned and is_own,
    )
