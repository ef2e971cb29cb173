"""Settings of proposed image-level labels."""

from dataclasses import dataclass

from semples_cli.config.require import require


@dataclass(frozen=True)
class TagSettings:
    """How image-level labels are proposed.

    Attributes:
        template: Text template; '{}' is the class or word.
        background_words: Texts that the classes are compared with beside each other; () for none.
        threshold: A class is proposed where its margin is at least this, in cosine (-2 to 2); None: the threshold is
            found from the margins of all images.
        batch_size: Images that go through CLIP at once; halved when device memory runs out.
    """

    template: str = "a photo of a {}."
    background_words: tuple[str, ...] = ()
    threshold: float | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        require("{}" in self.template, f"template {self.template!r}: it needs '{{}}' where the class goes")
        require(
            self.threshold is None or -2 <= self.threshold <= 2,
            f"threshold {self.threshold}: a margin of cosines lies in [-2, 2]",
        )
        require(self.batch_size >= 1, f"batch size {self.batch_size}: 1 or more")
