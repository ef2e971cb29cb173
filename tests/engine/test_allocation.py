"""Memory that the process keeps, seen by its page faults; each in a process of its own, since the setting stays."""

import os
import platform
import subprocess
import sys

import pytest

from semples_cli.engine import allocation
from semples_cli.engine.allocation import keep_freed_memory

CODE = """
import resource, sys, torch
from semples_cli.engine.allocation import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(50, 2**18)  # 50 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
plain, kept = faults(), keep_freed_memory()
for _ in range(5):  # blocks are aligned, and one that was freed may be a little too small for the next
    faults()
print(plain, kept, faults())
"""


def run(**environment):
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env={**others, **environment}
    )
    plain, kept, after = done.stdout.split()
    return int(plain), kept == "True", int(after)


needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


@needs_glibc
def test_large_blocks_are_used_again_without_a_page_fault():
    plain, kept, after = run()
    assert kept
    assert plain > 10_000  # five times 12,800 pages, some fewer where pages are huge
    assert after < 100


@needs_glibc
@pytest.mark.parametrize(
    "said", [{"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}, {"MALLOC_TRIM_THRESHOLD_": "131072"}]
)
def test_what_the_user_said_stays(said):
    assert run(**said)[1] is False


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(allocation.sys, "platform", "darwin")
    assert keep_freed_memory() is False


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: object())
    assert keep_freed_memory() is False
