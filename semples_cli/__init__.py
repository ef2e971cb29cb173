"""Images and image-level labels in, segmentation masks out.

The Python API: one function per command, and what they need to be called. Everything is imported on first use, so that
`import semples_cli` stays cheap.

    from pathlib import Path
    from semples_cli import build_engine, evaluate_masks, load_dataset, run_pipeline
    from semples_cli.config import EngineSettings

    data = load_dataset([Path("images")], labels=Path("labels.csv"))
    engine = build_engine(EngineSettings(weights="ViT-B-16.safetensors"))
    run_pipeline(data.samples, data.class_set, engine, Path("run"), workers=1)
    report = evaluate_masks(Path("run/crf"), Path("ground_truth"))

or stage by stage: `learn_prompts`, `make_cams`, `refine_cams`, `apply_crf`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semples_cli.data.dataset import load_dataset, load_labels
    from semples_cli.engine.build import build_engine
    from semples_cli.steps.apply_crf import apply_crf
    from semples_cli.steps.check_masks import check_masks
    from semples_cli.steps.convert_labels import convert_labels
    from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
    from semples_cli.steps.export_cams import export_cams
    from semples_cli.steps.export_masks import export_masks
    from semples_cli.steps.inspect_labels import inspect_labels
    from semples_cli.steps.learn_prompts import learn_prompts
    from semples_cli.steps.make_cams import make_cams
    from semples_cli.steps.make_coco_masks import make_coco_masks
    from semples_cli.steps.make_report import make_report
    from semples_cli.steps.refine_cams import refine_cams
    from semples_cli.steps.review_masks import review_masks
    from semples_cli.steps.run_pipeline import run_pipeline
    from semples_cli.steps.tag_images import tag_images
    from semples_cli.steps.train_generator import train_generator

__version__ = "0.1.0"
__all__ = [
    "apply_crf",
    "build_engine",
    "check_masks",
    "convert_labels",
    "evaluate_cams",
    "evaluate_masks",
    "export_cams",
    "export_masks",
    "inspect_labels",
    "learn_prompts",
    "load_dataset",
    "load_labels",
    "make_cams",
    "make_coco_masks",
    "make_report",
    "refine_cams",
    "review_masks",
    "run_pipeline",
    "tag_images",
    "train_generator",
]

_HOMES = {
    "apply_crf": "semples_cli.steps.apply_crf",
    "build_engine": "semples_cli.engine.build",
    "check_masks": "semples_cli.steps.check_masks",
    "convert_labels": "semples_cli.steps.convert_labels",
    "evaluate_cams": "semples_cli.steps.evaluate_masks",
    "evaluate_masks": "semples_cli.steps.evaluate_masks",
    "export_cams": "semples_cli.steps.export_cams",
    "export_masks": "semples_cli.steps.export_masks",
    "inspect_labels": "semples_cli.steps.inspect_labels",
    "learn_prompts": "semples_cli.steps.learn_prompts",
    "load_dataset": "semples_cli.data.dataset",
    "load_labels": "semples_cli.data.dataset",
    "make_cams": "semples_cli.steps.make_cams",
    "make_coco_masks": "semples_cli.steps.make_coco_masks",
    "make_report": "semples_cli.steps.make_report",
    "refine_cams": "semples_cli.steps.refine_cams",
    "review_masks": "semples_cli.steps.review_masks",
    "run_pipeline": "semples_cli.steps.run_pipeline",
    "tag_images": "semples_cli.steps.tag_images",
    "train_generator": "semples_cli.steps.train_generator",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a module attribute can be anything
    if name not in _HOMES:
        msg = f"module 'semples_cli' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)
