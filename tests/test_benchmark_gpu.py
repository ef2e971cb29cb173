"""The GPU benchmark at a small size on the CPU, so that it is ready where there is a GPU."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


def test_it_runs_on_the_cpu_and_says_everything(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--models", "ViT-S-32-alt"]
    command += ["--size", "64", "--images", "2", "--batch-sizes", "1", "2", "--repeats", "1", "--epochs", "1"]
    command += [
        "--precisions",
        "fp32",
        "--peak",
        "0.1",
        "--folder",
        str(tmp_path),
        "--json",
        str(tmp_path / "gpu.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "gpu.json").read_text())
    found = [(each["what"], each.get("batch_size")) for each in document["figures"]]
    assert found == [
        ("cams", 1),
        ("bare forward", 1),
        ("one at a time", 1),
        ("cams", 2),
        ("bare forward", 2),
        ("region features", None),
        ("prompt steps", None),
        ("refinement", 2),
    ]
    assert all(each["rate"] > 0 for each in document["figures"])
    assert sum("share of peak" in each for each in document["figures"]) == 4
    assert done.stdout.count("\n| ViT-S-32-alt | fp32 |") == len(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json"]  # no state of a training is left


def test_without_a_gpu_it_says_so():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = subprocess.run([sys.executable, str(BENCHMARKS / "gpu.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no GPU here: give --device cpu" in done.stderr


def test_products_of_the_tower_by_hand(gpu):
    """ViT-B/16 at 224: 17.6 GFLOP of multiply-adds, 35 counted one by one, as papers have it."""
    mlp = [SimpleNamespace(out_features=3072)]
    engine = SimpleNamespace(patch_size=16, width=768, num_layers=12, blocks=[SimpleNamespace(mlp=mlp)])
    assert gpu.tower_flops(engine, 224) == pytest.approx(2 * 17.58e9, rel=0.01)
