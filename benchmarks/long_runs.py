"""Long runs: does memory, or the number of open files, grow; does the rate hold; is every image counted once?

    python benchmarks/long_runs.py run --images 20000
    python benchmarks/long_runs.py resume --images 100000

run: the built-in world through `cams`, `crf` and `evaluate`, each as a process of its own that is looked at twice a
second: resident memory of it and its workers, open files, lines of its manifest. A row for each fifth of the images.
resume: so many small images without a class (no network works on those) are finished once; then the same command is
run again, has nothing to do, and is timed; once more after all files were touched, so that each is hashed again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

from PIL import Image

from semples_cli.demo.model import model_dir

Row = tuple[str, ...]
PARTS = 5
PAUSE = 0.5


@dataclass(frozen=True)
class Look:
    """What a process was like at a moment: seconds since its start, items done, memory in MB, open files."""

    seconds: float
    done: int
    memory: float
    files: int


def family(pid: int) -> list[int]:
    """A process and all below it, by /proc."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        below = [int(child) for child in children.read_text().split()]
    except OSError:
        below = []
    return [pid, *(each for child in below for each in family(child))]


def look_at(pid: int) -> tuple[float, int]:
    """Resident memory in MB, and open files, of a process and all below it; those that end meanwhile do not count."""
    memory = files = 0
    for each in family(pid):
        try:
            memory += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            files += len(os.listdir(f"/proc/{each}/fd"))  # noqa: PTH208
        except OSError:
            continue
    return memory / 1e6, files


def watch(arguments: list[object], manifest: Path | None) -> tuple[list[Look], dict[str, object]]:
    """Run a command and look at it until it ends; what it printed as JSON."""
    command = [sys.executable, "-m", "semples_cli", *map(str, arguments), "--json"]
    looks, started, size, done = [], perf_counter(), 0, 0
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if manifest is not None and manifest.exists():
                with manifest.open("rb") as handle:
                    handle.seek(size)
                    added = handle.read()
                size, done = size + len(added), done + added.count(b"\n")
            looks.append(Look(perf_counter() - started, done, *look_at(process.pid)))
            sleep(PAUSE)
        if process.returncode:
            sys.exit(f"semples {' '.join(map(str, arguments))} ended with {process.returncode}")
        out.seek(0)
        return looks, json.load(out)


def by_parts(name: str, looks: list[Look], total: int) -> Iterator[Row]:
    """Rate, memory and files in each fifth of the images; of a command without a manifest, of its time."""
    counted = looks[-1].done > 0
    place = (lambda look: look.done / total) if counted else (lambda look: look.seconds / looks[-1].seconds)
    for part in range(PARTS):
        inside = [look for look in looks if part < PARTS * place(look) <= part + 1]
        if len(inside) < 2:
            continue
        rate = (inside[-1].done - inside[0].done) / (inside[-1].seconds - inside[0].seconds)
        memory, files = [look.memory for look in inside], [look.files for look in inside]
        yield (
            *(name, f"{100 * part // PARTS} to {100 * (part + 1) // PARTS} %", f"{rate:.0f}" if counted else ""),
            *(f"{sum(memory) / len(memory):.0f}", f"{max(memory):.0f}", f"{max(files)}"),
        )


def long_run(args: argparse.Namespace) -> Iterator[Row]:
    yield "command", "part", "images a second", "mean MB", "most MB", "most open files"
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        world, masks, refined = folder / "world", folder / "masks", folder / "refined"
        watch(["demo-data", "--out", world, "--num-images", args.images], None)
        cams = ["cams", "--data", world, "--weights", model_dir(), "--size", 64, "--out", masks]
        commands = {
            "cams": (cams, masks),
            "crf": (["crf", masks, "--out", refined], refined),
            "evaluate": (["evaluate", refined, world / "SegmentationClass"], None),
            "evaluate --cams": (["evaluate", masks, world / "SegmentationClass", "--cams"], None),
        }
        for what, (command, out) in commands.items():
            manifest = None if out is None else out / ".semples/manifest.jsonl"
            looks, result = watch(command, manifest)
            yield from by_parts(what, looks, args.images)
            count = result.get("written", result.get("num_images"))
            there = args.images if out is None else len(list(out.glob("*.png")))
            yield what, f"all: {looks[-1].seconds:.0f} s", "", "", "", f"{count} counted, {there} masks there"


def resume(args: argparse.Namespace) -> Iterator[Row]:
    yield "command", "s", "most MB", "result"
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        images, labels, classes = folder / "images", folder / "labels.csv", folder / "classes.txt"
        paths = [images / f"{n // 1000:03}/{n:06}.png" for n in range(args.images)]
        for n, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 24), (n % 256, n // 256 % 256, 7)).save(path, compress_level=0)
        labels.write_text("image,labels\n" + "".join(f"{path.relative_to(images)},none\n" for path in paths))
        classes.write_text("cat\n")
        line = ["cams", images, "--labels", labels, "--classes", classes, "--weights", model_dir(), "--size", 32]
        for what in ("first", "nothing to do", "all touched"):
            if what == "all touched":
                for path in paths:
                    os.utime(path)
            looks, result = watch([*line, "--out", folder / "out"], None)
            kept = f"{result['written']} written, {result['resumed']} kept"
            yield what, f"{looks[-1].seconds:.1f}", f"{max(look.memory for look in looks):.0f}", kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "resume"))
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where the images are made; a few GB")
    args = parser.parse_args()
    for row in {"run": long_run, "resume": resume}[args.what](args):
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
