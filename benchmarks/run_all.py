"""Runs every benchmark in this folder one after the other: `make bench`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# An hour each, with make targets of their own, or for a GPU; and what they share.
NOT_HERE = (
    "ablation.py",
    "background_score.py",
    "confidence.py",
    "confidence_tables.py",
    "generators.py",
    "gpu.py",
    "long_runs.py",
    "sweeps.py",
    "train_segmenter.py",
    "pipeline_world.py",
    "runs.py",
    "tables.py",
    Path(__file__).name,
)

if __name__ == "__main__":
    failed = []
    for script in sorted(HERE.glob("*.py")):
        if script.name not in NOT_HERE:
            print(f"== {script.name}", flush=True)
            if subprocess.run([sys.executable, str(script)], check=False).returncode:
                failed.append(script.name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
