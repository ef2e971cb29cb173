"""Runs commands in processes of their own that can be killed, and says what they left."""

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# What two runs of the same work may differ in: how long it took, and when.
TIMES = ("seconds", "mtime_ns", "began", "ended")
NO_RESULT = (".lock", ".state", ".partial", ".regions")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: a signal), what it said, and how long it took."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class Running:
    """A command at work."""

    def __init__(self, zygote, pid, folder):
        self._zygote, self.pid, self._folder = zygote, pid, folder
        self._began = time.monotonic()

    def signal(self, number, *, group=True):
        """To the process and its workers, as a terminal does it."""
        try:
            (os.killpg if group else os.kill)(self.pid, number)
        except ProcessLookupError:
            return

    @property
    def has_ended(self):
        """Whether its exit code lies ready."""
        return bool(select.select([self._zygote.stdout], [], [], 0)[0])

    @property
    def stderr(self):
        """What it has said so far."""
        return (self._folder / "stderr").read_text(errors="replace")

    def end(self):
        code = int(self._zygote.stdout.readline())
        texts = [(self._folder / name).read_text(errors="replace") for name in ("stdout", "stderr")]
        return Ended(code, *texts, time.monotonic() - self._began)


class Semples:
    """Starts commands in a folder."""

    def __init__(self, folder):
        self.folder = folder
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"}
        self._zygote = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        assert self._zygote.stdout.readline() == "ready\n"

    def close(self):
        self._zygote.stdin.close()
        self._zygote.wait(30)
        self._zygote.stdout.close()

    def start(self, *arguments, folder=None, **request):
        request |= {"arguments": [str(argument) for argument in arguments], "folder": str(folder or self.folder)}
        request |= {name: str(self.folder / name) for name in ("stdout", "stderr")}
        self._zygote.stdin.write(json.dumps(request) + "\n")
        self._zygote.stdin.flush()
        return Running(self._zygote, int(self._zygote.stdout.readline()), self.folder)

    def run(self, *arguments, **request):
        return self.start(*arguments, **request).end()

    def count_moments(self, *arguments, **request):
        """Runs a command to its end; how it ended, and at how many moments it could have died: see zygote.py."""
        count = self.folder / "count"
        ended = self.run(*arguments, count_to=str(count), **request)
        return ended, int(count.read_text())


def outcome(root):
    """All that a run left below a folder, by path: bytes of results, lines of manifests without times."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or path.name.startswith("lock") or name.endswith(NO_RESULT):
            continue
        if path.suffix == ".jsonl" and path.parent.name == ".semples":
            # Sorted, lines of shards stand before those of the run, which takes them in when somebody begins alone.
            entries = map(json.loads, path.read_bytes().splitlines())
            lines = found.setdefault(f"{path.parent.relative_to(root).as_posix()}/manifest", {})
            lines |= {entry["id"]: without_times(entry) for entry in entries}
        elif path.suffix == ".json":
            found[name] = without_times(json.loads(path.read_bytes()))
        else:
            found[name] = path.read_bytes()
    return found


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in TIMES}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def leftovers(root):
    """Files that a finished run must not leave."""
    return sorted(path.name for path in root.rglob("*") if path.name.endswith(NO_RESULT))


def unfinished(root):
    """Files under a name of their own that are not whole; every reader of such a file would refuse them."""
    from PIL import Image

    broken = []
    for path in root.rglob("*"):
        try:
            if path.suffix == ".png":
                Image.open(path).load()
            elif path.suffix == ".npz":
                import numpy as np

                with path.open("rb") as handle, np.load(handle) as arrays:
                    dict(arrays)
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".safetensors":
                from safetensors.numpy import load

                load(path.read_bytes())
        except Exception as error:  # whatever the reader says
            broken.append((path.name, repr(error)))
    return broken


def check_whole(out, expected):
    assert unfinished(out) == []
    assert leftovers(out) == []
    found = outcome(out)
    assert list(found) == list(expected)
    for name, content in expected.items():
        assert found[name] == content, name
