"""Runs every benchmark in this folder one after the other: `make bench`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

if __name__ == "__main__":
    failed = []
    for script in sorted(HERE.glob("*.py")):
        if script.name not in (Path(__file__).name, "ablation.py"):  # an hour; it has a make target of its own
            print(f"== {script.name}", flush=True)
            if subprocess.run([sys.executable, str(script)], check=False).returncode:
                failed.append(script.name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
