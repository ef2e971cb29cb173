import re

import numpy as np
import pytest

from semples_cli.demo.captions import (
    CONCEPTS,
    DOUBLE,
    FILLERS,
    SINGLE,
    SYNONYMS,
    UNSEEN,
    UNSEEN_CONCEPT,
    draw_caption,
    draw_captions,
)
from semples_cli.demo.names import BACKGROUNDS, OBJECTS
from semples_cli.demo.recipe import TOKEN_WINDOW

WORDS = {word: concept for concept in CONCEPTS for word in (concept, *SYNONYMS.get(concept, ()))}
FRAME_WORDS = set(re.findall(r"[a-z]+", " ".join(SINGLE + DOUBLE + FILLERS)))


def concepts_named(caption):
    return {WORDS[word] for word in re.findall(r"[a-z]+", caption) if word in WORDS}


def test_concepts_are_the_objects_then_the_backgrounds():
    assert CONCEPTS == OBJECTS + BACKGROUNDS


def test_a_word_stands_for_one_concept_and_is_no_word_of_the_sentences():
    assert set(SYNONYMS) <= set(CONCEPTS)
    assert len(WORDS) == len(CONCEPTS) + sum(map(len, SYNONYMS.values()))
    assert not set(WORDS) & FRAME_WORDS


@pytest.mark.parametrize("concept", range(len(CONCEPTS)))
def test_a_caption_of_one_concept_names_it_and_no_other(concept):
    rng = np.random.default_rng(concept)
    for _ in range(50):
        assert concepts_named(draw_caption(rng, (concept,))) == {CONCEPTS[concept]}


def test_a_caption_of_two_concepts_names_both_in_either_order():
    rng = np.random.default_rng(0)
    captions = [draw_caption(rng, (2, 12)) for _ in range(100)]
    assert all(concepts_named(caption) == {"boat", "sea"} for caption in captions)
    firsts = {next(WORDS[w] for w in re.findall(r"[a-z]+", caption) if w in WORDS) for caption in captions}
    assert firsts == {"boat", "sea"}


def test_synonyms_and_fillers_come_up():
    rng = np.random.default_rng(0)
    captions = [draw_caption(rng, (2,)) for _ in range(300)]
    assert {word for caption in captions for word in re.findall(r"[a-z]+", caption)} >= {"boat", "sailboat", "ship"}
    assert all(any(filler in caption for caption in captions) for filler in FILLERS)
    assert len(set(captions)) > 80


def test_pair_captions_name_only_what_their_images_hold():
    present = np.zeros((6, len(CONCEPTS)), bool)
    for n, pair in enumerate([(0, 10), (1, 11), (2, 12), (3, 13), (4, 14), (5, 15)]):
        present[n, list(pair)] = True
    captions = draw_captions(np.random.default_rng(0), present, 200)
    singles, pairs, last = captions[: len(CONCEPTS)], captions[len(CONCEPTS) : -1], captions[-1]
    assert [concepts for _, concepts in singles] == [(c,) for c in range(len(CONCEPTS))]
    assert len(pairs) == 200
    for caption, concepts in pairs:
        assert any(present[n, list(concepts)].all() for n in range(len(present)))
        assert concepts_named(caption) == {CONCEPTS[c] for c in concepts}
    assert {tuple(sorted(concepts)) for _, concepts in pairs} == {(k, 10 + k) for k in range(6)}
    assert last[1] == (UNSEEN_CONCEPT,)
    assert any(re.search(rf"\b{thing}\b", last[0]) for thing in UNSEEN)
    assert not concepts_named(last[0])


def test_images_with_fewer_than_two_concepts_give_no_pair():
    present = np.zeros((4, len(CONCEPTS)), bool)
    present[:2, 3] = True
    assert len(draw_captions(np.random.default_rng(0), present, 50)) == len(CONCEPTS) + 1


def test_captions_are_seeded():
    present = np.ones((3, len(CONCEPTS)), bool)
    first, again, other = (draw_captions(np.random.default_rng(seed), present, 10) for seed in (0, 0, 1))
    assert first == again != other


def test_every_caption_fits_the_token_window_with_room_for_start_and_end():
    from open_clip import SimpleTokenizer

    tokenizer = SimpleTokenizer(context_length=TOKEN_WINDOW)
    rng = np.random.default_rng(0)
    pairs = [tuple(int(c) for c in rng.choice(len(CONCEPTS), 2, replace=False)) for _ in range(300)]
    lengths = [len(tokenizer.encode(draw_caption(rng, pair))) for pair in pairs]
    assert max(lengths) <= TOKEN_WINDOW - 2 == 46
    assert max(lengths) > 25  # long sentences too, so that prompts of many tokens are no news to the text tower


def test_the_longest_caption_there_can_be_fits_the_token_window():
    from open_clip import SimpleTokenizer

    encode = SimpleTokenizer(context_length=TOKEN_WINDOW).encode
    fillers = sorted(FILLERS, key=lambda filler: len(encode(filler)))[-7:]
    words = sorted(WORDS, key=lambda word: len(encode(word)))[-2:]
    sentences = (frame.format(*words).rstrip(".") + " " + " ".join(fillers) + "." for frame in DOUBLE)
    assert max(len(encode(sentence)) for sentence in sentences) <= TOKEN_WINDOW - 2
