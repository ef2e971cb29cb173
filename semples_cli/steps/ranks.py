"""What a step does when torchrun started several processes: one speaks and writes, and all were given the same."""

import hashlib
import json
from collections.abc import Callable, Sequence

from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import Ranks
from semples_cli.errors import SettingsError
from semples_cli.steps.cam_record import Note
from semples_cli.steps.progress import Begin, silent
from semples_cli.steps.shards import add_up
from semples_cli.types import ClassSet, Progress, RunSummary, Sample, Shard


class JointNotes:
    """Notes of all processes, said by the main one: its own at once, those of the others when they are brought."""

    def __init__(self, ranks: Ranks, note: Note | None) -> None:
        """Notes go to `note` of the main process; None: to nobody."""
        self._ranks, self._note = ranks, note
        self._said: list[str] = []

    def __call__(self, sentence: str) -> None:
        """Say a sentence, or remember it."""
        if self._ranks.size > 1:
            self._said.append(sentence)
        if self._ranks.is_main and self._note is not None:
            self._note(sentence)

    def bring(self) -> None:
        """Say what the others have remembered, each sentence once; all processes come here together."""
        said, self._said = self._said, []
        brought = dict.fromkeys(sentence for each in self._ranks.gather(said) for sentence in each)
        if self._ranks.is_main and self._note is not None:
            for sentence in brought:
                if sentence not in said:
                    self._note(sentence)


def begin_on_main(ranks: Ranks, begin: Begin) -> Begin:
    """Progress of the main process alone."""
    return begin if ranks.is_main else _begin_silently


def check_same_on_all(ranks: Ranks, samples: Sequence[Sample], class_set: ClassSet, engine: ClipEngine) -> None:
    """Refuse processes that do not see the same: each would compute its share of something else.

    Raises:
        SettingsError: Says which process differs from the first, and in what.
    """
    if ranks.size == 1:
        return
    facts = {
        "images and labels": [(sample.id, sample.class_indices) for sample in samples],
        "classes": (class_set.names, class_set.prompt_names),
        "weights": engine.record.get("weights_sha256"),
        "precision": engine.record.get("precision"),
    }
    everyone = ranks.gather({name: hashlib.sha256(json.dumps(fact).encode()).digest() for name, fact in facts.items()})
    for number, other in enumerate(everyone):
        if differing := [name for name, digest in other.items() if digest != everyone[0][name]]:
            msg = (
                f"process {number} of {ranks.size} has other {', '.join(differing)} than the first: give all machines "
                "the same files and options"
            )
            raise SettingsError(msg)


def make_masks(ranks: Ranks, make: Callable[[Shard | None], RunSummary]) -> RunSummary:
    """CAMs and masks between or after trainings: every process makes a shard of them.

    Args:
        ranks: The processes.
        make: Makes a shard; None: all of them.

    Returns:
        How all ended together, for every process.
    """
    if ranks.size == 1:
        return make(None)
    ranks.gather(None)  # no one begins while the main process still holds the folder for the training before
    made = ranks.gather(make(Shard(ranks.rank + 1, ranks.size)))
    return add_up(made, max(each.seconds for each in made))


def _begin_silently(part: str) -> Progress:
    del part
    return silent
