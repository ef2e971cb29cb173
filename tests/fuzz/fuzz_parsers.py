"""Fuzzes a parser, guided by coverage: `python tests/fuzz/fuzz_parsers.py csv -max_total_time=60`.

`--all SECONDS [NAME …]` fuzzes them all in turn, so long each, and prints a table; anything but a SemplesError is a
crash, and so are two gigabytes, or ten seconds on one input. What crashed is kept in `build/fuzz/<target>/`, and
belongs, made small (`-minimize_crash=1`), into `tests/fuzz/crashes/<target>/`, where the tests replay it. It needs
atheris, the extra `fuzz`.
"""

import re
import subprocess
import sys
from pathlib import Path

LIMITS = ("-rss_limit_mb=2048", "-timeout=10", "-max_len=4096", "-print_final_stats=1", "-verbosity=0")
INSTRUMENTED = ["semples_cli", "tarfile", "xml", "defusedxml", "pickletools", "zipfile", "numpy.lib", "json", "PIL"]
BUILD = Path("build") / "fuzz"
CRASHES = Path(__file__).parent / "crashes"


def main() -> int:
    """Run one target, or all."""
    if len(sys.argv) < 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    if sys.argv[1] == "--all":
        return fuzz_all(float(sys.argv[2]) if len(sys.argv) > 2 else 60.0, sys.argv[3:])
    fuzz(sys.argv[1], sys.argv[2:])
    return 0


def fuzz(name: str, options: list[str]) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from parser_targets import TARGETS, seeds_of, try_target

    if name not in TARGETS:
        sys.exit(f"{name}: no such target; choose one of {', '.join(TARGETS)}")
    corpus, found = BUILD / name / "corpus", BUILD / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(name)):
        (corpus / f"seed{number}").write_bytes(seed)
    places = [str(corpus)] if not any(option and not option.startswith("-") for option in options) else []
    arguments = [sys.argv[0], *places, *LIMITS, f"-artifact_prefix={found}/", *options]
    atheris.Setup(arguments, lambda data: try_target(name, data))
    atheris.Fuzz()


def fuzz_all(seconds: float, names: list[str]) -> int:
    """Fuzz these targets in turn, or all; exit code 1 if anything crashed."""
    from parser_targets import TARGETS

    crashed = 0
    for name in names or TARGETS:
        command = [sys.executable, __file__, name, f"-max_total_time={seconds:.0f}"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        crashed += done.returncode != 0
        sys.stdout.write(f"{name:16} {_executions(done.stderr):>10} executions, {_verdict(done)}\n")
        sys.stdout.flush()
    return int(crashed > 0)


def _executions(log: str) -> str:
    found = re.search(r"number_of_executed_units: (\d+)", log) or re.search(r"Done (\d+) runs", log)
    return found[1] if found else "?"


def _verdict(done: subprocess.CompletedProcess) -> str:
    if done.returncode == 0:
        return "no crash"
    kept = re.search(r"Test unit written to (\S+)", done.stderr)
    last = [line for line in done.stderr.splitlines() if "Error" in line or "Exception" in line or "ALARM" in line]
    return f"CRASHED: {last[-1] if last else done.returncode} ({kept[1] if kept else 'no input kept'})"


if __name__ == "__main__":
    sys.exit(main())
