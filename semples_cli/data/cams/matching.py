"""Brings files of other projects and images together: by the relative path, then by the file name."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from semples_cli.errors import DataError


def match_ids(paths: Mapping[str, Path], ids: Iterable[str]) -> dict[str, Path]:
    """Files by the ids of images.

    Args:
        paths: File by its relative path without suffix.
        ids: Of the images, such as `train2014/COCO_train2014_000000000009`.

    Returns:
        File by image id, sorted; a file that no image goes with keeps its own.

    Raises:
        DataError: Two files, or two images, share the name by which they would be brought together.
    """
    wanted = set(ids)
    renamed = {sample_id: path for sample_id, path in paths.items() if sample_id in wanted}
    owners, files = _by_name(wanted - renamed.keys()), _by_name(paths.keys() - renamed.keys())
    for name, found in files.items():
        images = owners.get(name, [])
        if images and len(images) + len(found) > 2:
            msg = (
                f"{' and '.join(str(paths[each]) for each in found[:2])} may belong to {' or '.join(images[:2])}: "
                f"put the CAMs into the subfolders of their images"
            )
            raise DataError(msg)
        renamed.update((images[0] if images else each, paths[each]) for each in found)
    return dict(sorted(renamed.items()))


def _by_name(ids: Iterable[str]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for sample_id in sorted(ids):
        groups[sample_id.rpartition("/")[2]].append(sample_id)
    return groups
