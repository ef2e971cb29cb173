"""A process that has imported everything and forks a fresh `semples` off for each command.

A kill then falls on the work of a command and not on the five seconds of its imports. It reads one request a line on
stdin and answers with two lines: the process number when the command begins, the exit code (negative: a signal) when it
has ended. `die_at` kills the command by itself at one of its durable operations: see `Deaths`.
"""

import ctypes
import errno
import importlib
import io
import json
import os
import pkgutil
import signal
import sys
from pathlib import Path


class Deaths:
    """Kills this process, as kill -9 does, at the n-th operation by which a file appears, changes or goes.

    The operations are renames, removals, and lines of a manifest; each has a moment before it and one after it. A line
    of a manifest has a third, in its midst. Moments are counted from 0; with none to die at they are only counted.
    """

    def __init__(self, die_at: int | None) -> None:
        self._die_at = -1 if die_at is None else die_at
        self.count = 0

    def moment(self) -> None:
        if self.count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1

    def watch(self, module: object, name: str) -> None:
        original = getattr(module, name)

        def watched(*args: object, **options: object) -> object:
            self.moment()
            result = original(*args, **options)
            self.moment()
            return result

        setattr(module, name, watched)

    def install(self) -> None:
        from semples_cli.artifacts.manifest import Manifest

        for name in ("replace", "unlink", "link"):
            self.watch(os, name)
        deaths, original = self, Manifest.append

        def append(manifest: Manifest, entry: object) -> None:
            manifest._handle = _Torn(manifest._handle, deaths)
            original(manifest, entry)
            manifest._handle = manifest._handle.whole

        Manifest.append = append


class _Torn:
    """A file that is written in two halves."""

    def __init__(self, whole: object, deaths: Deaths) -> None:
        self.whole, self._deaths = whole, deaths

    @property
    def name(self) -> str:
        return self.whole.name

    def write(self, line: bytes) -> int:
        half = len(line) // 2
        self._deaths.moment()
        written = self.whole.write(line[:half])
        self._deaths.moment()
        written += self.whole.write(line[half:])
        self._deaths.moment()
        return written


class FullHandle:
    """A file on a disk without room: the first bytes are taken, as they may be."""

    def __init__(self, handle: object) -> None:
        self._handle = handle

    def __getattr__(self, name: str) -> object:
        return getattr(self._handle, name)

    def write(self, data: bytes) -> int:
        self._handle.write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __enter__(self) -> "FullHandle":
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.close()


def fill_disk_after(number: int, folder: str) -> None:
    """From the n-th file on that is opened for writing below a folder, nothing can be written."""
    original, opened = io.open, []

    def open_file(file: object, mode: str = "r", *args: object, **options: object) -> object:
        handle = original(file, mode, *args, **options)
        is_written = set(mode) & set("wxa+") and str(file).startswith(folder)
        if is_written and not str(file).endswith((".jsonl", "lock", ".lock")):
            opened.append(file)
        return FullHandle(handle) if is_written and len(opened) > number else handle

    io.open = open_file


def obey_permissions() -> None:
    """Root may write everywhere; without these two powers it is refused as everybody is."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    powers = (ctypes.c_uint32 * 6)()
    libc.capget(header, powers)
    for place in range(3):
        powers[place] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if libc.capset(header, powers) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def run(request: dict) -> None:
    """Be the command; does not return."""
    os.setpgid(0, 0)  # as a shell does, so that Ctrl-C reaches it and its workers
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.update(request.get("environ", {}))
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 99
    try:
        if "full_after" in request:
            fill_disk_after(request["full_after"], request["disk"])
        if request.get("obedient"):
            obey_permissions()
        deaths = Deaths(request.get("die_at"))
        if "count_to" in request or "die_at" in request:
            deaths.install()
        sys.argv = ["semples", *request["arguments"]]
        from semples_cli.__main__ import main

        try:
            main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(bool(error.code))
        if "count_to" in request:
            Path(request["count_to"]).write_text(str(deaths.count))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    import open_clip
    import torch

    import semples_cli

    for module in pkgutil.walk_packages(semples_cli.__path__, "semples_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    sys.path.append(str(Path(__file__).parents[1] / "engine"))
    from tiny_clip import TINY_CONFIG

    open_clip.factory._MODEL_CONFIGS["ViT-tiny"] = TINY_CONFIG  # what `models convert` is given here
    torch.set_num_threads(1)
    answer("ready")
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            run(request)
        answer(child)
        answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
