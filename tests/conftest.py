"""What tests of several rooms need: a small random CLIP in a model directory, and a small folder of labelled images."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image
from small_world import CLIP_CONFIG, PHOTOS

# The same examples on every run, and no clock: a test that fails here fails everywhere. `make mutants` runs the tests
# more than once in a process, which matters to hypothesis only where it keeps what failed.
settings.register_profile(
    "semples", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
)
settings.load_profile("semples")


@pytest.fixture(scope="session")
def clip_dir(tmp_path_factory):
    """A model directory of a small random CLIP; pass it as `--weights`."""
    import open_clip
    import torch

    from semples_cli.engine.model_dir import ModelDir, write_model_dir

    folder = tmp_path_factory.mktemp("models") / "small"
    torch.manual_seed(0)
    model = open_clip.CLIP(**CLIP_CONFIG)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100))
    write_model_dir(ModelDir(folder, CLIP_CONFIG, licence="CC0"), model.state_dict())
    return folder


@pytest.fixture(scope="session")
def clip_engine(clip_dir):
    """That CLIP, built: on the CPU, in float32."""
    from semples_cli.config import EngineSettings
    from semples_cli.engine.build import build_engine

    return build_engine(EngineSettings(weights=str(clip_dir), device="cpu", precision="fp32"))


@pytest.fixture
def photos(tmp_path):
    """`<tmp_path>/images` with the PHOTOS as JPEG and a labels.csv that names them all."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    lines = ["image,labels"]
    for sample_id, ((height, width), classes) in PHOTOS.items():
        path = folder / f"{sample_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=95)
        lines.append(f"{sample_id}.jpg,{'|'.join(classes)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder
