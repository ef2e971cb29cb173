"""Every command that writes, on the small world: what is killed, and then run to its end."""

from dataclasses import dataclass

ENGINE = ("--device", "cpu", "--precision", "fp32")
SHORT = ("--epochs", "2", "--size", "64")
BATCH = ("--batch-size", "4")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: For people.
        arguments: With {world}, {base}, {weights}, {more} and {out} in place of paths.
        kills: How often it is killed at a random moment.
        options: More of them.
        copied: Folder of {base} that it works in: a copy of it lies in {out} under this name before it begins.
    """

    name: str
    arguments: str
    kills: int = 4
    options: tuple[str, ...] = ()
    copied: str = ""

    def line(self, **paths):
        return [part.format(**paths) for part in (*self.arguments.split(), *self.options)]


CAMS = Command("cams", "cams --data {world} --out {out} --weights {weights} --overlay", 6, (*ENGINE, *BATCH))
CRF = Command("crf", "crf {base}/seeds --out {out} --workers 2 --crf-backend sparse --overlay", 6)
PROCESSES = Command("crf in processes", "crf {base}/seeds --out {out} --workers 2 --crf-backend pydensecrf2", 3)

COMMANDS = (
    CAMS,
    CRF,
    PROCESSES,
    Command("cams of a shard", "cams --data {world} --out {out} --weights {weights} --shard 2/2", 3, (*ENGINE, *BATCH)),
    Command("cams with prompts", "cams --data {world} --out {out} --prompts {base}/prompts.safetensors", 3, ENGINE),
    Command(
        "cams of a generator",
        "cams --data {world} --out {out} --generator-weights {base}/refined/.semples/generator.safetensors",
        3,
        ENGINE,
    ),
    Command(
        "cams, score chosen", "cams --data {world} --out {out} --weights {weights} --background-score auto", 3, ENGINE
    ),
    Command(
        "learn-prompts",
        "learn-prompts --data {world} --out {out}/p.safetensors --weights {weights}",
        5,
        (*ENGINE, *SHORT),
    ),
    Command(
        "learn-prompts of CAMs",
        "learn-prompts --data {world} --cams {base}/seeds --out {out}/p.safetensors --weights {weights}",
        3,
        (*ENGINE, "--epochs", "60", "--prompt-length", "4"),
    ),
    Command(
        "train-generator",
        "train-generator --generator clip_head --data {world} --out {out}/g.safetensors --weights {weights} --epochs 4",
        4,
        ENGINE,
    ),
    Command(
        "refine",
        "refine --data {world} --prompts {base}/prompts.safetensors --initial {base}/generator_initial.safetensors "
        "--out {out}/refined",
        4,
        (*ENGINE, *SHORT),
    ),
    Command(
        "refine of CAMs",
        "refine --data {world} --prompts {base}/prompts.safetensors --cams {base}/seeds --out {out}/refined",
        4,
        (*ENGINE, *SHORT),
    ),
    Command(
        "run", "run --data {world} --out {out} --weights {weights} --min-images 1 --workers 2", 6, (*ENGINE, *SHORT)
    ),
    Command(
        "tag",
        "tag {world}/JPEGImages --classes {world}/classes.txt --out {out}/tags.csv --weights {weights}",
        3,
        ENGINE,
    ),
    Command("evaluate", "evaluate {base}/crf {world}/SegmentationClass --out {out}", 3),
    Command("evaluate the curve", "evaluate {base}/seeds {world}/SegmentationClass --cams --out {out}", 2),
    Command("report", "report {base} --out {out}/page.html --ground-truth {world}/SegmentationClass", 3),
    Command(
        "review",
        "review {out}/crf --weights {weights} --out {out}/review.csv --masks-out {out}/masks --ignore-below 0.2",
        4,
        ENGINE,
        "crf",
    ),
    Command("labels convert", "labels convert {world}/labels.csv --to jsonl --out {out}/labels.jsonl", 2),
    Command("data coco-masks", "data coco-masks {more}/coco/annotations.json --out {out}", 3),
    Command("demo-data", "demo-data --num-images 60 --out {out}/world", 3),
    Command("models convert", "models convert {more}/archive.pt --model ViT-tiny --trust --out {out}", 2),
    *(
        Command(f"export to {form}", f"export {{base}}/crf --to {form} --out {{out}}", 2)
        for form in ("coco", "cvat", "hf", "labelme", "voc", "yolo")
    ),
    Command("export to irn", "export {base}/seeds --to irn --out {out}", 3),
)
