"""Images and image-level labels in, segmentation masks out.

The Python API: one function per command. They are imported on first use, so that `import semples_cli` stays cheap.

    from semples_cli import apply_crf, evaluate_masks, make_cams
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semples_cli.engine.build import build_engine
    from semples_cli.steps.apply_crf import apply_crf
    from semples_cli.steps.evaluate_masks import evaluate_masks
    from semples_cli.steps.make_cams import make_cams

__version__ = "0.1.0"
__all__ = ["apply_crf", "build_engine", "evaluate_masks", "make_cams"]

_HOMES = {
    "apply_crf": "semples_cli.steps.apply_crf",
    "build_engine": "semples_cli.engine.build",
    "evaluate_masks": "semples_cli.steps.evaluate_masks",
    "make_cams": "semples_cli.steps.make_cams",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a module attribute can be anything
    if name not in _HOMES:
        msg = f"module 'semples_cli' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)
