"""What the shards of one run must agree about, so that together they do each image once and alike."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from semples_cli.errors import SettingsError
from semples_cli.types import RunSummary, Shard


def shard_record(shard: Shard, ids: Iterable[str]) -> dict[str, object]:
    """How a run was cut into shards, as `run.json` holds it.

    Args:
        shard: One of them.
        ids: Ids of all images of the run, in any order.
    """
    digest = hashlib.sha256("\n".join(sorted(ids)).encode(errors="surrogatepass"))
    return {"count": shard.count, "images_sha256": digest.hexdigest()}


def add_up(summaries: Sequence[RunSummary], seconds: float) -> RunSummary:
    """How a run ended whose shards ended like this."""
    return RunSummary(
        sum(each.written for each in summaries),
        sum(each.resumed for each in summaries),
        tuple(sorted(item for each in summaries for item in each.skipped)),
        tuple(sorted(item for each in summaries for item in each.failed)),
        seconds,
    )


def check_same_shards(
    previous: Mapping[str, Any] | None, current: Mapping[str, Any], changes: Sequence[str] = ()
) -> None:
    """Refuse to work beside shards that do something else.

    Args:
        previous: The record of the shards at work; None where they have not written it.
        current: That of this one.
        changes: What else shapes the masks and differs.

    Raises:
        SettingsError: Another number of shards, other images, or other settings.
    """
    before, now = ((record or {}).get("shards") or {} for record in (previous, current))
    found = [*changes]
    if before.get("count") != now.get("count"):
        found.append(f"{before.get('count', 'no')} shards → {now.get('count')}")
    elif before != now:
        found.append("other images")
    if found:
        msg = (
            f"other shards of a run are at work in the output folder, and differ from this one: {', '.join(found)}; "
            "wait until they end, or start all alike"
        )
        raise SettingsError(msg)
