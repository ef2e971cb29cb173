"""What a report says of learned prompts: what they are near to, where a CLIP was asked, and how they were learned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semples_cli.artifacts.prompts_file import read_prompt_training, read_prompts
from semples_cli.types import PromptSet


def prompts_as_dict(path: Path, described: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Facts about a prompts file as JSON values.

    Args:
        path: The file.
        described: The `prompts` of `descriptions_as_dict`, one for each class in order; None where no CLIP was asked.

    Raises:
        ArtifactError: The file is damaged.
    """
    # Torch takes seconds to import, and most reports have no prompts.
    from semples_cli.steps.background_texts import UNLEARNED
    from semples_cli.steps.describe_prompts import training_as_dict

    prompts = read_prompts(path)
    return {
        "file": path.name,
        "clip": prompts.clip_name,
        "weights_sha256": prompts.weights_hash,
        "length": prompts.vectors.shape[1],
        "template": prompts.template,
        "described": described is not None,
        "classes": list(described) if described is not None else _undescribed(prompts, UNLEARNED),
        **training_as_dict(prompts, read_prompt_training(path)),
    }


def _undescribed(prompts: PromptSet, unlearned_key: str) -> list[dict[str, Any]]:
    listed = prompts.settings.get(unlearned_key, ())
    unlearned = set(listed) if isinstance(listed, list | tuple) else set()
    return [{"class": name, "learned": name not in unlearned} for name in prompts.class_names]
