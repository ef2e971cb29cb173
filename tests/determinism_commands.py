"""Every command that writes files, as `test_determinism.py` runs it: here in one process, and there in another.

    python determinism_commands.py FOLDER THREADS

runs all of them in that folder.
"""

import os
import sys
from pathlib import Path

import semples_cli

WEIGHTS = str(Path(semples_cli.__file__).parent / "demo" / "weights")
ENGINE = ["--weights", WEIGHTS, "--device", "cpu", "--precision", "fp32"]
SIZED = [*ENGINE, "--size", "48"]
SHORT = ["--epochs", "1", "--min-images", "1"]
VIT = ["--vit", "small_patch4_64", "--start", "scratch"]
GENERATOR = "refined/.semples/generator.safetensors"
# What was made from a file keeps its time, by which it is known again; here all files are of one time.
LONG_AGO = 10**9
EXPORTS = ("coco", "cvat", "hf", "labelme", "voc", "yolo", "irn")

# By name, in order: later ones read what earlier ones wrote. The folder of the name, or the file, is what each writes.
COMMANDS = {
    "world": ["demo-data", "--num-images", "6", "--size", "48", "--seed", "1"],
    "seeds": ["cams", "--data", "world", *SIZED, "--scales", "1.0,0.75", "--flips", "--overlay"],
    "seeds-bf16": ["cams", "--data", "world", "--weights", WEIGHTS, "--device", "cpu", "--precision", "bf16"],
    "labels.csv": ["tag", "world/JPEGImages", "--classes", "world/classes.txt", *ENGINE],
    "labels.jsonl": ["labels", "convert", "world/labels.csv", "--to", "jsonl"],
    "weaktr.safetensors": ["train-generator", "--data", "world", *ENGINE, *VIT, "--epochs", "1"],
    "given/prompts.safetensors": ["learn-prompts", "--data", "world", "--cams", "seeds", *SIZED, *SHORT],
    "learned/prompts.safetensors": ["learn-prompts", "--data", "world", *SIZED, *SHORT],
    "refined": ["refine", "--data", "world", "--prompts", "learned/prompts.safetensors", *SIZED, "--epochs", "1"],
    "prompted": ["cams", "--data", "world", "--prompts", "learned/prompts.safetensors", *SIZED],
    "generated": ["cams", "--data", "world", "--generator-weights", GENERATOR, *SIZED],
    "run": ["run", "--data", "world", *SIZED, *SHORT, "--workers", "1"],
    "crf": ["crf", "refined", "--workers", "1"],
    "crf-sparse": ["crf", "refined", "--from", "masks", "--preset", "semples-voc", "--crf-backend", "sparse"],
    "queue.csv": ["review", "crf", "--labels", "world/labels.csv", "--images", "world/JPEGImages", *ENGINE],
    "scores": ["evaluate", "crf", "world"],
    "curve": ["evaluate", "seeds", "world", "--cams"],
    "page.html": ["report", "run", "--ground-truth", "world"],
    **{f"to-{form}": ["export", "seeds", "--to", form, *(["--images", "world/JPEGImages"] if form != "irn" else [])]
       for form in EXPORTS},
}  # fmt: skip


def run_all() -> None:
    """All commands, in the folder that the process stands in.

    Raises:
        RuntimeError: One of them did not end with 0.
    """
    from typer.testing import CliRunner

    from semples_cli.cli.app import app

    for name, command in COMMANDS.items():
        done = CliRunner().invoke(app, [*command, "--out", name])
        if done.exit_code:
            msg = f"{name} ended with {done.exit_code}: {done.output}"
            raise RuntimeError(msg)
        for path in Path().rglob("*"):
            os.utime(path, (LONG_AGO, LONG_AGO))


if __name__ == "__main__":
    import torch

    os.chdir(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    run_all()
