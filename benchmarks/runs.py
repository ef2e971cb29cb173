"""Runs of a benchmark, each on one world with one seed of training: several at once, kept in a file, resumed.

The file is one JSON document, written anew after every run. A run that it holds with the same settings and the same
weights is not repeated.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from semples_cli.config import EngineSettings, WorldSettings
from semples_cli.demo.model import model_dir
from semples_cli.engine.build import build_engine
from semples_cli.engine.clip import ClipEngine

FORMAT_VERSION = 1
KEYS = {"run", "fingerprint"}


@dataclass(frozen=True)
class Run:
    """What one run is about; `seed` is that of training, None for what needs none."""

    world: int
    seed: int | None
    pairing: int
    bias: float
    num_images: int

    def world_settings(self) -> WorldSettings:
        return WorldSettings(seed=self.world, num_images=self.num_images, bias=self.bias, pairing=self.pairing)


Work = Callable[[ClipEngine, Run], dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that all benchmarks on worlds share."""
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 3], help="seeds of worlds; 0 is for tuning")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of training")
    parser.add_argument("--pairing", type=int, default=0)
    parser.add_argument("--bias", type=float, default=0.9)
    parser.add_argument("--num-images", type=int, default=200)
    parser.add_argument("--json", type=Path, help="keep the runs here; those that it already has are not repeated")
    parser.add_argument(
        "--jobs", type=int, default=1, help="runs at once; threads are shared out, which may change last digits"
    )
    parser.add_argument("--tables", type=Path, nargs="+", metavar="FILE", help="compute nothing: tables of these files")


def fingerprint(settings: object) -> str:
    """Tells runs with other settings or other weights of the built-in CLIP apart."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=asdict).encode())
    for path in sorted(model_dir().iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The runs in a file; none where there is no file. Ends the program where it holds something else."""
    if not path.exists():
        return []
    try:
        document = json.loads(path.read_text())
        if document["format_version"] == FORMAT_VERSION and all(each.keys() >= KEYS for each in document["runs"]):
            return list(document["runs"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    sys.exit(f"{path}: not a file of runs of this version; give another name, or remove it")


def write_runs(path: Path, runs: list[dict[str, Any]]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"format_version": FORMAT_VERSION, "runs": runs}, indent=1))
    partial.replace(path)


def is_done(runs: Iterable[dict[str, Any]], run: Run, mark: str) -> bool:
    """Whether these runs hold this one, with the same settings and weights."""
    return any(each["run"] == asdict(run) and each["fingerprint"] == mark for each in runs)


def do_runs(wanted: Iterable[Run], mark: str, work: Work, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Do the runs that the file lacks; return all that are wanted, in their order.

    `work` makes what a run is to hold; it is called in another process where there are several jobs.
    """
    wanted = list(dict.fromkeys(wanted))
    runs = read_runs(args.json) if args.json else []
    missing = [run for run in wanted if not is_done(runs, run, mark)]
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    for run, (result, seconds) in _results(missing, work, args.jobs):
        runs.append({"run": asdict(run), "fingerprint": mark, "commit": commit, "seconds": round(seconds), **result})
        print(f"world {run.world}, seed {run.seed}: {seconds:.0f} s", file=sys.stderr, flush=True)
        if args.json:
            write_runs(args.json, runs)
    return [each for run in wanted for each in runs if is_done([each], run, mark)]


def _results(runs: list[Run], work: Work, jobs: int) -> Iterator[tuple[Run, tuple[dict[str, Any], float]]]:
    """Each run with what it made and the seconds that it took, in the order in which they end.

    With several jobs, a run that fails is raised once all others have been yielded, so that they can be kept.
    """
    if jobs == 1:
        yield from ((run, _timed(work, run)) for run in runs)
        return
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        futures = {pool.submit(_timed, work, run): run for run in runs}
        failed = []
        for future in as_completed(futures):
            if future.exception() is None:
                yield futures[future], future.result()
            else:
                failed.append(future)
        for future in failed:
            future.result()


def _timed(work: Work, run: Run) -> tuple[dict[str, Any], float]:
    started = perf_counter()
    engine = build_engine(EngineSettings(weights=str(model_dir()), device="cpu", precision="fp32"))
    return work(engine, run), perf_counter() - started
