"""Captions that are true of a scene, for training the tiny CLIP.

A caption names one or two things in the scene, with synonyms, in short and long sentences; like captions on the web it
never names everything.
"""

import numpy as np
import numpy.typing as npt

from semples_cli.demo.names import BACKGROUNDS, OBJECTS

Rng = np.random.Generator

CONCEPTS = OBJECTS + BACKGROUNDS

SYNONYMS: dict[str, tuple[str, ...]] = {
    "aeroplane": ("airplane", "plane"),
    "boat": ("sailboat", "ship"),
    "car": ("automobile",),
    "train": ("locomotive",),
    "sheep": ("lamb",),
    "sky": ("clouds", "cloud"),
    "tree": ("branches", "leaves", "forest"),
    "sea": ("ocean", "water", "lake", "river"),
    "desert": ("sand", "dunes", "land"),
    "road": ("street", "asphalt", "ground"),
    "reef": ("coral",),
    "wall": ("bricks", "building", "house"),
    "snow": ("ice",),
    "grass": ("meadow", "lawn", "field"),
    "railway": ("railroad", "tracks"),
}

# Things that captions name and no picture shows: to the model they are something else than what it sees.
UNSEEN = ("keyboard", "helmet", "mountain", "rock", "valley", "bridge", "sign", "dog", "chair", "bottle")
UNSEEN_CONCEPT = len(CONCEPTS)

SINGLE = ("a photo of {}.", "a photo of a {}.", "{}", "a {}.", "the {}.", "a clean origami {}.", "a picture of {}.")
DOUBLE = ("a photo of {} and {}.", "a {} on the {}.", "{}, {}", "a {} near a {}.", "the {} with the {}.")
FILLERS = (
    "taken in the morning", "seen from far away", "on a quiet day", "by my friend", "in bright light", "for the album",
    "with an old camera", "during our holiday", "and nothing else", "close up", "in the evening", "shot by hand",
)  # fmt: skip


def draw_caption(rng: Rng, concepts: tuple[int, ...]) -> str:
    """A sentence that names the given one or two concepts (indices into CONCEPTS), in any order."""
    words = [_draw_word(rng, CONCEPTS[c]) for c in rng.permutation(concepts)]
    sentence = str(rng.choice(SINGLE if len(words) == 1 else DOUBLE)).format(*words)
    if rng.random() < 0.3:
        fillers = rng.choice(FILLERS, int(rng.integers(1, 8)), replace=False)
        sentence = sentence.rstrip(".") + " " + " ".join(fillers) + "."
    return sentence


def _draw_word(rng: Rng, concept: str) -> str:
    if concept in SYNONYMS and rng.random() < 0.3:
        return str(rng.choice(SYNONYMS[concept]))
    return concept


def draw_captions(rng: Rng, present: npt.NDArray[np.bool_], num_pairs: int) -> list[tuple[str, tuple[int, ...]]]:
    """The captions of one training step.

    Args:
        rng: Source of the wording.
        present: (N, 20) whether concept c is in image n.
        num_pairs: Two-concept captions to draw from the images.

    Returns:
        (caption, concepts): one caption for each single concept, then the two-concept ones, then one of a thing that
        no picture shows (UNSEEN_CONCEPT).
    """
    named: list[tuple[int, ...]] = [(c,) for c in range(len(CONCEPTS))]
    for n in rng.choice(len(present), num_pairs):
        here = np.flatnonzero(present[n])
        if len(here) >= 2:
            named.append(tuple(int(c) for c in rng.choice(here, 2, replace=False)))
    captions = [(draw_caption(rng, concepts), concepts) for concepts in named]
    unseen = str(rng.choice(SINGLE)).format(rng.choice(UNSEEN))
    return [*captions, (unseen, (UNSEEN_CONCEPT,))]


def all_wordings() -> list[str]:
    """Sentences that together hold every word that a caption can hold: what the tiny CLIP's token table has to keep."""
    words = [*known_words(), *UNSEEN]
    sentences = [template.format(*([word] * template.count("{}"))) for template in SINGLE + DOUBLE for word in words]
    return sentences + [f"{filler}." for filler in FILLERS]


def known_words() -> tuple[str, ...]:
    """Every word for a thing that the tiny CLIP has seen: objects, backgrounds, and their synonyms."""
    return tuple(word for concept in CONCEPTS for word in (concept, *SYNONYMS.get(concept, ())))
