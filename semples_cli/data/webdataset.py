"""WebDataset's convention: in a tar, files that share their name up to the first dot are one sample.

`n01440764/000123.jpg` and `n01440764/000123.cls` are the sample `n01440764/000123` of their tar.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from semples_cli.errors import DataError
from semples_cli.tars.index import UNPACK
from semples_cli.tars.members import SUFFIX, read_tar, split_path

_COMPRESSED = re.compile(r"\.(tar\.(gz|bz2?|xz|zstd?|lz4?|lzma|lzo|z|br)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
# Names that WebDataset keeps for itself.
_META = re.compile(r"__[^/]*__")


def is_tar(path: Path) -> bool:
    """Whether a file is called as a tar, be it a compressed one."""
    return path.suffix.lower() == SUFFIX or is_compressed_tar(path)


def is_compressed_tar(path: Path) -> bool:
    """Whether a file is called as a compressed tar."""
    return _COMPRESSED.search(path.name) is not None


def sample_key(name: str) -> str:
    """The sample that a member belongs to: its name up to the first dot of the last part.

    >>> sample_key("v1.0/000123.seg.png")
    'v1.0/000123'
    """
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def find_tar_images(tar: Path, suffixes: Collection[str]) -> Iterator[tuple[str, Path]]:
    """The image of each sample of a tar that has one.

    Of `1.jpg` and `1.seg.png` the first is the image, for it alone has nothing but a suffix behind the key.

    Args:
        tar: The tar.
        suffixes: Lower-case suffixes of images.

    Yields:
        (key, path through the tar).

    Raises:
        DataError: The tar cannot be read, or a sample has several images.
    """
    if is_compressed_tar(tar):
        msg = f"{tar}: this tar is compressed, so {UNPACK}"
        raise DataError(msg)
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    for name in read_tar(tar):
        if PurePosixPath(name).suffix.lower() in suffixes and not _is_hidden(name):
            by_key[sample_key(name)].append(name)
    for key, names in by_key.items():
        plain = [name for name in names if name.count(".", len(key)) == 1]
        chosen = plain or names
        if len(chosen) > 1:
            msg = (
                f"{tar}: {' and '.join(chosen)} are both images of the sample {key!r}, for a sample is the name up to "
                "the first dot; write the tar with one of them, or call the other .seg.png, or unpack it into a folder"
            )
            raise DataError(msg)
        yield key, tar / chosen[0]


def find_tar_problems(paths: Iterable[Path]) -> tuple[tuple[str, str], ...]:
    """What is wrong with the tars that hold these files, beside members that fail by themselves: (where, message)."""
    inside = (split_path(path / "_") for path in sorted({path.parent for path in paths}))
    tars = dict.fromkeys(found[0] for found in inside if found is not None)
    return tuple((str(tar), problem) for tar in tars for problem in read_tar(tar).problems)


def key_in_tar(image_id: str, path: Path) -> str:
    """The part of an image id that is the key in its tar; '' where the image lies in no tar.

    >>> key_in_tar("train-000/n01/1", Path("shards/train-000.tar/n01/1.jpg"))
    'n01/1'
    """
    parts = image_id.split("/")
    for depth, (name, place) in enumerate(zip(parts, path.parts[-len(parts) :], strict=False), 1):
        if place.lower() == name.lower() + SUFFIX:
            return "/".join(parts[depth:])
    return ""


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or _META.fullmatch(part) for part in name.split("/"))
