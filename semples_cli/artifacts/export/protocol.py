"""What every exporter of masks takes and does, so that one step drives them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, get_args

from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet, MaskArray

Instances = Literal["class", "components"]


@dataclass(frozen=True)
class ExportSettings:
    """What can be chosen; an exporter looks at what its format has, and the step refuses the rest by name.

    Attributes:
        instances: One shape for each class of an image, or one for each connected region of a class.
        polygons: Outlines in place of exact masks, where a format has both; holes and thin parts suffer.
        image_root_url: Where the tool finds the images: joined with each image's relative path.
        shard_size: Megabytes (10⁶ bytes) that one index file may grow to before another is begun.
        copy_images: Copy images that the format needs beside its masks; False: hard links where the disk allows them.
    """

    instances: Instances = "class"
    polygons: bool = False
    image_root_url: str | None = None
    shard_size: int = 200
    copy_images: bool = False

    def __post_init__(self) -> None:
        if self.instances not in get_args(Instances):
            msg = f"--instances {self.instances}: choose one of {', '.join(get_args(Instances))}"
            raise SettingsError(msg)
        if self.shard_size < 1:
            msg = f"--shard-size {self.shard_size}: 1 megabyte or more"
            raise SettingsError(msg)


@dataclass(frozen=True)
class ExportImage:
    """One image as an exporter is given it; that the mask has the size of the upright image is checked already.

    Attributes:
        id: Relative POSIX path without suffix.
        image_path: Where the image lies.
        values: (H, W) uint8: 0 background, 1..F classes, 255 ignore; read-only.
        confidence: Of the whole mask, in [0, 1]; None where it is not known.
        class_confidence: Of single classes, in [0, 1], by class index.

    Raises:
        DataError: The id leads out of the folder that it is written to.
    """

    id: str
    image_path: Path
    values: MaskArray
    confidence: float | None = None
    class_confidence: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not {"", ".", ".."}.isdisjoint(self.id.split("/")):
            msg = f"image id {self.id!r} is not a relative path inside the image folder"
            raise DataError(msg)

    @property
    def file_name(self) -> str:
        """The image's path relative to its folder, with suffix, as indices name it: the id with the file's suffix."""
        return self.id + self.image_path.suffix


class MaskExporter(Protocol):
    """Writes masks in one format; made as `Exporter(out, class_set, settings)`, which may refuse but writes nothing.

    Memory does not grow with the number of images: indices are streamed to `<name>.partial` (`index_file.py`).

    Attributes:
        options: The fields of `ExportSettings` that the format has; the step refuses the others by name.
        void_rule: What becomes of 255, as the end of 'N pixels of 255 (ignore) are …'; '' where they are kept.
        notes: Sentences about this export for stderr, such as a class that had to be renamed; complete after `finish`.
    """

    options: ClassVar[frozenset[str]]
    void_rule: ClassVar[str]
    notes: list[str]

    def __init__(self, out: Path, class_set: ClassSet, settings: ExportSettings) -> None:
        """Remember; folders are made by the first `add`."""

    def add(self, image: ExportImage) -> tuple[Path, ...]:
        """Write or spool one image.

        Returns:
            The files that are this image's alone; () where all of it goes into an index. They are removed when the
            export is made again.

        Raises:
            SemplesError: This image cannot be in this format; nothing of it is left in an index, and others can follow.
            OSError: The disk fails, and with it the export.
        """
        ...

    def finish(self) -> tuple[Path, ...]:
        """Complete the index files, each whole or not at all.

        Returns:
            All index files; first what a person, or the tool, opens first.
        """
        ...

    def abandon(self) -> None:
        """Close and remove what is unfinished: no index file is left. Does nothing after `finish`."""
        ...
