"""Finds and reads weights: cache, files, state dicts. No pickle is executed; only `pull_weights` uses the network."""

import hashlib
import re
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file
from torch import nn

from semples_cli.engine.model_dir import UNKNOWN_LICENCE
from semples_cli.errors import EngineError

# In torch's refusals: what a pickle names, or what else is wrong with it.
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_DETAIL = re.compile(r"WeightsUnpickler error:\s*(\S.*)")

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
HUB_SAFE_NAME = "open_clip_model.safetensors"
HUB_PICKLE_NAME = "open_clip_pytorch_model.bin"
REACH_SECONDS = 10


class _Passed:
    """Stands for what training checkpoints hold beside tensors; whatever it is given is dropped."""

    def __init__(self, *_: object) -> None:
        """Nothing is made."""

    def __setstate__(self, state: object) -> None:
        """Nothing is taken: numpy's own types would let a checkpoint write into their layout."""


# Arguments, and figures as numpy scalars, by the names of numpy 1 and 2.
_PASSED_OVER: list[Any] = [
    (_Passed, name)
    for name in (
        "argparse.Namespace",
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
    )
]

# By the first part of a tag; the licences that the publishers state on the weights' pages.
LICENCES = {
    "openai": "MIT",
    "laion400m": "MIT",
    "laion2b": "MIT",
    "datacomp": "MIT",
    "commonpool": "MIT",
    "metaclip": "CC-BY-NC-4.0 (no commercial use)",
    "dfn2b": "Apple's research licence (apple-amlr): see the weights' page",
    "dfn5b": "Apple's research licence (apple-amlr): see the weights' page",
}


def licence_of_tag(tag: str) -> str:
    """Licence of the weights behind a pretrained tag, as far as it is known."""
    return LICENCES.get(tag.lower().replace("-", "_").split("_")[0], UNKNOWN_LICENCE)


def hub_files(tag_config: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Repository on the hub, and the file names that may hold the weights, best first.

    Args:
        tag_config: open_clip's pretrained config; its `hf_hub` is 'org/repo/' or 'org/repo/file'.
    """
    repo, _, name = tag_config["hf_hub"].rpartition("/")
    if not name:
        return repo, (HUB_SAFE_NAME, HUB_PICKLE_NAME)
    safe = str(Path(name).with_suffix(".safetensors"))
    return repo, tuple(dict.fromkeys((safe, name)))


def find_cached(tag_config: Mapping[str, Any]) -> Path | None:
    """The weights of a tag in the Hugging Face cache, or None; touches no network."""
    repo, names = hub_files(tag_config)
    for name in names:
        path = huggingface_hub.try_to_load_from_cache(repo, name)
        if isinstance(path, str):
            return Path(path)
    return None


def not_cached_message(model: str, tag: str, tag_config: Mapping[str, Any]) -> str:
    """One line: which file is missing, where it would lie, and both ways to bring it."""
    repo, names = hub_files(tag_config)
    return (
        f"weights {tag!r} of {model} are not on this machine (no {names[0]} of {repo} in "
        f"{huggingface_hub.constants.HF_HUB_CACHE}): run `semples models pull --model {model} --weights {tag}` with a "
        f"network, or {_how_to_bring(repo, names[0], tag_config)}"
    )


def pull_weights(model: str, tag: str, tag_config: Mapping[str, Any]) -> Path:
    """Download the weights of a tag into the Hugging Face cache.

    Raises:
        EngineError: The hub cannot be reached or has no such file.
    """
    if path := find_cached(tag_config):
        return path
    repo, names = hub_files(tag_config)
    try:
        return download(repo, names)
    except EngineError as error:
        msg = f"weights {tag!r} of {model} not downloaded: {error}; {_how_to_bring(repo, names[0], tag_config)}"
        raise EngineError(msg) from None


def download(repo: str, names: Sequence[str]) -> Path:
    """Download the first of these files that a repository of the hub has, into the Hugging Face cache.

    Raises:
        EngineError: The hub cannot be reached or has none of them; the message is the cause alone.
    """
    cause = _cannot_reach(huggingface_hub.constants.ENDPOINT)
    for name in names if cause is None else ():
        try:
            return Path(huggingface_hub.hf_hub_download(repo, name))
        except Exception as error:  # the client raises a dozen kinds
            cause = f"{name}: {type(error).__name__}: {_first_line(error)}"
            if not isinstance(error, EntryNotFoundError):  # only a name that is not there is worth trying another
                break
    raise EngineError(cause or f"{repo} has nothing to offer")


def hash_file(path: Path) -> str:
    """SHA-256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, such as OpenAI's own: it holds code beside its tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a `.safetensors`, `.pt`, `.pth` or `.bin` file by name, on the CPU; no pickled code is executed.

    Raises:
        EngineError: The file is missing, damaged, a TorchScript archive, or holds no state dict.
    """
    if path.suffix.lower() not in SUFFIXES:
        msg = f"{path}: weights files end in {', '.join(SUFFIXES)}"
        raise EngineError(msg)
    if is_torchscript(path):
        msg = (
            f"{path}: a TorchScript archive runs code when it is opened; if you trust it, make a model directory of it "
            f"with `semples models convert {path} --out DIR --trust` and give `--weights DIR`"
        )
        raise EngineError(msg)
    try:
        if path.suffix.lower() == ".safetensors":
            return dict(load_file(path))
        with torch.serialization.safe_globals(_PASSED_OVER), warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # garbage raises anything from EOFError to SafetensorError
        msg = f"{path}: cannot be read as weights ({reason_of(error)}); bring the file again"
        raise EngineError(msg) from None
    return _unwrap(path, content)


def reason_of(error: Exception) -> str:
    """Why torch did not read a file, in one line, without its advice to read it unsafely.

    Args:
        error: From `torch.load(…, weights_only=True)`, or another reader.
    """
    if named := _GLOBAL.search(str(error)):
        return f"it names {named[1]}, which no weights need, and nothing of it was run"
    if "TorchScript" in str(error):
        return "a TorchScript archive, which runs code when it is opened"
    if detail := _DETAIL.search(str(error)):
        return f"{type(error).__name__}: {detail[1]}"
    return f"{type(error).__name__}: {_first_line(error)}"


def check_fit(state: Mapping[str, torch.Tensor], model: nn.Module, what: str) -> None:
    """Compare names and shapes of stored tensors with those of a model.

    Args:
        state: State dict as stored.
        model: The model, which may be on the meta device.
        what: What is being loaded into what, for the message.

    Raises:
        EngineError: They differ; the message shows the first difference and counts them.
    """
    wanted = model.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in wanted]
    problems += [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        msg = f"{what}: weights of another model ({len(problems)} differences, such as: {problems[0]}); check --model"
        raise EngineError(msg)


def _unwrap(path: Path, content: object) -> dict[str, torch.Tensor]:
    """Training checkpoints hold the weights under a name, and distributed ones put 'module.' before each name."""
    for inner in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(inner), Mapping):
            content = content[inner]
    if not isinstance(content, Mapping) or not content or not all(torch.is_tensor(v) for v in content.values()):
        msg = f"{path}: holds no state dict (names and tensors); save `model.state_dict()` and give that file"
        raise EngineError(msg)
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _how_to_bring(repo: str, name: str, tag_config: Mapping[str, Any]) -> str:
    activation = " --quick-gelu" if tag_config.get("quick_gelu") else ""  # the file itself will not tell
    url = f"{huggingface_hub.constants.ENDPOINT}/{repo}/resolve/main/{name}"
    return f"bring {url} and give `--weights PATH{activation}`"


def _cannot_reach(endpoint: str) -> str | None:
    """Why a server does not answer, or None; the hub's own client would retry for half a minute before it says so."""
    try:
        with urllib.request.urlopen(endpoint, timeout=REACH_SECONDS):
            return None
    except urllib.error.HTTPError:  # an answer, even if a refusal
        return None
    except OSError as error:
        return f"{endpoint} cannot be reached ({_first_line(error)})"


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200] or "no message"
