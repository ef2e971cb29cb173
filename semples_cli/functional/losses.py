"""The losses of SemPLeS: matching, contrastive prompt learning, refinement.

Source: SemPLeS (Lin et al. 2025, arXiv 2401.11791, sections 3.2 to 3.4).

Letters: N pairs of an image and a class that is present in it. Every similarity is a probability from
`similarity`; a loss of no pair is 0 and keeps its gradient graph.
"""

import torch

from semples_cli.errors import SettingsError

FLOOR = 1e-4
"""Similarities are kept in [FLOOR, 1 − FLOOR] before any logarithm."""


def similarity(cosines: torch.Tensor, mapping: str) -> torch.Tensor:
    """Cosines as the numbers that go into the logarithms.

    Args:
        cosines: (...) in [-1, 1].
        mapping: 'clamp': the cosine itself, as published. CLIP's image-text cosines are positive; where one is not, its
            gradient is 0. 'half': (1 + cosine) / 2, which has a gradient everywhere.

    Returns:
        (...) in [1e-4, 1 − 1e-4]; the gradient is 0 where the bounds cut.

    Raises:
        SettingsError: The mapping has another name.

    Example:
        >>> similarity(torch.tensor([-0.5, 0.5]), "clamp")
        tensor([1.0000e-04, 5.0000e-01])
        >>> similarity(torch.tensor([-0.5, 0.5]), "half")
        tensor([0.2500, 0.7500])
    """
    if mapping not in ("clamp", "half"):
        msg = f"similarity {mapping!r}: choose clamp or half"
        raise SettingsError(msg)
    values = cosines if mapping == "clamp" else (1 + cosines) / 2
    return values.clamp(FLOOR, 1 - FLOOR)


def pull_loss(similarities: torch.Tensor) -> torch.Tensor:
    r"""Pulls together: mean :math:`-\log s` (first term of the matching and of the prompt loss).

    Args:
        similarities: (N,).

    Returns:
        A scalar, 0 or above.

    Example:
        >>> pull_loss(torch.tensor([1.0, 0.5]))
        tensor(0.3466)
    """
    return -similarities.log().sum() / max(1, similarities.numel())


def push_loss(similarities: torch.Tensor) -> torch.Tensor:
    r"""Pushes apart: mean :math:`-\log(1 - s)` (background term of the matching loss, and the refinement loss).

    Args:
        similarities: (N,).

    Returns:
        A scalar, 0 or above.

    Example:
        >>> push_loss(torch.tensor([0.0, 0.5]))
        tensor(0.3466)
    """
    return -(1 - similarities).log().sum() / max(1, similarities.numel())


def matching_loss(foreground: torch.Tensor, background: torch.Tensor, lambda_b: float) -> torch.Tensor:
    r"""Segment-Label Matching: the foreground region is the class, the background region is not.

    .. math:: \frac1N \sum -\log s(X_f, t_k) + \lambda_b \frac1N \sum -\log(1 - s(X_b, t_k))

    Args:
        foreground: (N,) similarity of foreground region and label text.
        background: (N,) similarity of background region and label text.
        lambda_b: Weight of the second term.

    Returns:
        A scalar.

    Example:
        >>> matching_loss(torch.tensor([0.5]), torch.tensor([0.5]), 2.0)
        tensor(2.0794)
    """
    return pull_loss(foreground) + lambda_b * push_loss(background)


def prompt_loss(background: torch.Tensor, label: torch.Tensor, lambda_t: float, repulsion: str) -> torch.Tensor:
    r"""Contrastive Prompt Learning: the prompt describes the background region and not the class.

    .. math:: \frac1N \sum -\log s(X_b, p_k) + \lambda_T \frac1N \sum \log s(t_k, p_k)

    is the loss of the released code ('log-s'); with 'log-one-minus-s' the second term is
    :math:`-\lambda_T \frac1N \sum \log(1 - s(t_k, p_k))`.

    Args:
        background: (N,) similarity of background region and prompt.
        label: (N,) similarity of label text and prompt.
        lambda_t: Weight of the second term.
        repulsion: 'log-s' or 'log-one-minus-s'.

    Returns:
        A scalar.

    Raises:
        SettingsError: The repulsion has another name.

    Example:
        >>> prompt_loss(torch.tensor([0.5]), torch.tensor([0.5]), 1.0, "log-s")
        tensor(0.)
        >>> prompt_loss(torch.tensor([0.5]), torch.tensor([0.5]), 1.0, "log-one-minus-s")
        tensor(1.3863)
    """
    if repulsion not in ("log-s", "log-one-minus-s"):
        msg = f"repulsion {repulsion!r}: choose log-s or log-one-minus-s"
        raise SettingsError(msg)
    away = -pull_loss(label) if repulsion == "log-s" else push_loss(label)
    return pull_loss(background) + lambda_t * away


def refinement_loss(foreground: torch.Tensor) -> torch.Tensor:
    r"""Prompt-guided Semantic Refinement: the foreground region is not what the class's prompt describes.

    .. math:: \frac1N \sum -\log(1 - s(X_f, p_k))

    Args:
        foreground: (N,) similarity of foreground region and background prompt.

    Returns:
        A scalar.

    Example:
        >>> refinement_loss(torch.tensor([0.5]))
        tensor(0.6931)
    """
    return push_loss(foreground)
