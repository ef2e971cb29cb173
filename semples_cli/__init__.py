"""Images and image-level labels in, segmentation masks out.

The Python API: one function per command, and what they need to be called. Everything is imported on first use, so that
`import semples_cli` stays cheap.

    from pathlib import Path
    from semples_cli import build_engine, evaluate_masks, load_dataset, make_cams
    from semples_cli.config import EngineSettings

    data = load_dataset([Path("images")], labels=Path("labels.csv"))
    engine = build_engine(EngineSettings(weights="ViT-B-16.safetensors"))
    make_cams(data.samples, data.class_set, engine, Path("masks"))
    report = evaluate_masks(Path("masks"), Path("ground_truth"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semples_cli.data.dataset import load_dataset
    from semples_cli.engine.build import build_engine
    from semples_cli.steps.apply_crf import apply_crf
    from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
    from semples_cli.steps.make_cams import make_cams

__version__ = "0.1.0"
__all__ = ["apply_crf", "build_engine", "evaluate_cams", "evaluate_masks", "load_dataset", "make_cams"]

_HOMES = {
    "apply_crf": "semples_cli.steps.apply_crf",
    "build_engine": "semples_cli.engine.build",
    "evaluate_cams": "semples_cli.steps.evaluate_masks",
    "evaluate_masks": "semples_cli.steps.evaluate_masks",
    "load_dataset": "semples_cli.data.dataset",
    "make_cams": "semples_cli.steps.make_cams",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a module attribute can be anything
    if name not in _HOMES:
        msg = f"module 'semples_cli' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)
