"""Judges one mask by what is in it and what is known about it."""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from semples_cli.errors import SemplesError
from semples_cli.steps.mask_findings import LOW_COVERAGE, MOST_VALUES, Findings
from semples_cli.steps.mask_inspection import MaskFacts
from semples_cli.steps.mask_knowledge import MaskKnowledge
from semples_cli.types import IGNORE_INDEX

MOST_NAMED = 5


def judge_mask(key: str, facts: MaskFacts | SemplesError, known: MaskKnowledge, found: Findings) -> None:
    """Note what is wrong with one mask.

    Args:
        key: Its id.
        facts: What it is, or why that could not be found out.
        known: What it is compared with.
        found: Where to note it.
    """
    if isinstance(facts, SemplesError):
        found.add("unreadable", key, str(facts))
    elif facts.problem:
        found.add(facts.problem, key, facts.detail)
    else:
        if facts.palette != "voc":
            found.add("no-palette" if facts.palette == "none" else "palette", key)
        _judge_size(key, facts, found)
        _judge_values(key, facts.counts, known, found)


def _judge_size(key: str, facts: MaskFacts, found: Findings) -> None:
    if facts.image_problem:
        found.add("image", key, facts.image_problem)
    if facts.image_size is None or facts.image_size == facts.size:
        return
    code = "transposed" if facts.image_size == facts.size[::-1] else "size"
    ours, theirs = (f"{height} × {width}" for height, width in (facts.size, facts.image_size))
    found.add(code, key, f"{ours}, the image {theirs}")


def _judge_values(key: str, counts: Sequence[int], known: MaskKnowledge, found: Findings) -> None:
    present = [value for value in range(1, IGNORE_INDEX) if counts[value]]
    if known.class_set is None:
        if len(present) > MOST_VALUES:
            found.add("grey-levels", key, f"{len(present)} values")
    elif wrong := [value for value in present if value > len(known.class_set)]:
        found.add("no-class", key, f"{_some(map(str, wrong))}; there are {len(known.class_set)} classes")
    coverage = 1 - counts[IGNORE_INDEX] / sum(counts)
    if coverage == 0:
        found.add("all-ignore", key)
        return
    if coverage < LOW_COVERAGE:
        found.add("low-coverage", key, f"{coverage:.1%}")
    _judge_label(key, frozenset(present), known, found)


def _judge_label(key: str, present: frozenset[int], known: MaskKnowledge, found: Findings) -> None:
    named = known.labels.get(key)
    if named is None:
        if not present:
            found.add("only-background", key)
        return
    if foreign := present - named:
        found.add("foreign-class", key, _names(foreign, known))
    if named and not present:
        found.add("all-background", key, _names(named, known))
    elif absent := named - present:
        found.add("no-pixel", key, _names(absent, known))


def _names(indices: Collection[int], known: MaskKnowledge) -> str:
    last = 0 if known.class_set is None else len(known.class_set)
    return _some(
        known.class_set.name_of(k) if known.class_set is not None and k <= last else str(k) for k in sorted(indices)
    )


def _some(texts: Iterable[str]) -> str:
    texts = iter(texts)
    first = list(islice(texts, MOST_NAMED))
    more = sum(1 for _ in texts)
    return ", ".join(first) + (f" and {more} more" if more else "")
