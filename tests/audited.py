"""Runs a script in a process of its own whose interpreter tells what it does: Python's audit events."""

import json
import subprocess
import sys
import textwrap

# What no reading of data needs: programs, code, names of pickles, new modules, files written or removed, the network.
PRELUDE = """
import contextlib, json, os, sys

WATCHED = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn", "os.startfile", "subprocess.Popen",
    "pty.spawn", "exec", "compile", "code.__new__", "function.__new__", "import", "pickle.find_class", "marshal.loads",
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate", "os.putenv",
    "shutil.", "socket.", "urllib.", "ctypes.", "webbrowser.", "tempfile.", "ftplib.", "smtplib.", "sqlite3.",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
seen, watching = [], False

def hook(event, arguments):
    if not watching:
        return
    writes = event == "open" and (set(str(arguments[1] or "")) & set("wax+") or (arguments[2] or 0) & WRITING)
    if writes or event.startswith(WATCHED):
        seen.append(f"{event} {arguments[:1]}"[:200])

sys.addaudithook(hook)

@contextlib.contextmanager
def watched():
    global watching
    watching = True
    try:
        yield
    finally:
        watching = False

def finish(**found):
    print(json.dumps({"seen": seen, **found}))
"""


def run_audited(script, folder, *arguments):
    """Run a script that does its work `with watched():` and ends with `finish(…)`.

    Args:
        script: Python; it has the path of the tests.
        folder: Where it runs.
        arguments: `sys.argv[1:]`.

    Returns:
        `seen`, the events, and what `finish` was given.
    """
    paths = f"import sys\nsys.path[:0] = {[path for path in sys.path if path]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", paths + PRELUDE + textwrap.dedent(script), *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
