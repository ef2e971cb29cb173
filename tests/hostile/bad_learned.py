"""Hostile files of prompts and generators: changes to good ones, made anew and always the same.

`FILES` damages the container, whatever is in it; `PROMPTS` and `GENERATORS` change what is in it. Each maps a name to a
change and to what must be said of it.
"""

import json
import pickle
from collections.abc import Callable, Mapping

import numpy as np
from bad_cams import Harmful
from bad_images import whole, zipped
from safetensors.numpy import load, save


def header_of(content: bytes) -> dict[str, object]:
    """The header of a safetensors file."""
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def with_header(content: bytes, header: object) -> bytes:
    """The same tensors under another header, which may be bytes that are no JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + int.from_bytes(content[:8], "little") :]


def with_length(content: bytes, length: int) -> bytes:
    """The same with another length of the header announced."""
    return length.to_bytes(8, "little") + content[8:]


def with_entry(content: bytes, **changes: object) -> bytes:
    """The same with its first tensor described otherwise."""
    header = header_of(content)
    name = next(name for name in header if name != "__metadata__")
    return with_header(content, {**header, name: {**header[name], **changes}})


Change = Callable[[bytes], bytes]

FILES: dict[str, tuple[Change, str]] = {
    "empty": (lambda _: b"", "not a readable safetensors file"),
    "text": (lambda _: b"https://example.org/prompts.safetensors", "not a readable safetensors file"),
    "html": (lambda _: b"<!DOCTYPE html><html></html>", "not a readable safetensors file"),
    "png": (lambda _: whole("PNG"), "not a readable safetensors file"),
    "zip": (lambda _: zipped(), "not a readable safetensors file"),
    "pickle": (lambda _: pickle.dumps(Harmful()), "not a readable safetensors file"),
    "lfs-pointer": (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "not a readable safetensors file"),
    **{
        f"cut-{share}": (lambda whole, share=share: whole[: int(len(whole) * share)], "not a readable safetensors file")
        for share in (0.001, 0.1, 0.5, 0.9, 0.999)
    },
    "bytes-behind-its-end": (lambda whole: whole + b"more", "not a readable safetensors file"),
    "header-of-2-to-the-63": (lambda whole: with_length(whole, 2**63), "not a readable safetensors file"),
    "header-of-2-to-the-64": (lambda whole: with_length(whole, 2**64 - 1), "not a readable safetensors file"),
    "header-of-nothing": (lambda whole: with_length(whole, 0), "not a readable safetensors file"),
    "header-longer-than-the-file": (
        lambda whole: with_length(whole, len(whole) * 2),
        "not a readable safetensors file",
    ),
    "header-is-no-json": (lambda whole: with_header(whole, b"{vectors: 7}"), "not a readable safetensors file"),
    "header-is-no-utf-8": (lambda whole: with_header(whole, b'{"\xff": 1}'), "not a readable safetensors file"),
    "header-is-a-list": (lambda whole: with_header(whole, [1]), "not a readable safetensors file"),
    "header-is-deep": (lambda whole: with_header(whole, b"[" * 100_000), "not a readable safetensors file"),
    "type-nobody-knows": (lambda whole: with_entry(whole, dtype="F7"), "not a readable safetensors file"),
    "shape-that-overflows": (lambda whole: with_entry(whole, shape=[2**62, 2**62]), "not a readable safetensors file"),
    "shape-below-0": (lambda whole: with_entry(whole, shape=[-1, 4]), "not a readable safetensors file"),
    "shape-of-other-bytes": (lambda whole: with_entry(whole, shape=[1, 1, 1]), "not a readable safetensors file"),
    "offsets-beyond-the-file": (lambda whole: with_entry(whole, data_offsets=[0, 2**40]), "not a readable safetensors"),
    "offsets-that-go-back": (lambda whole: with_entry(whole, data_offsets=[64, 0]), "not a readable safetensors file"),
    "metadata-of-numbers": (
        lambda whole: with_header(whole, {**header_of(whole), "__metadata__": {"format_version": 1}}),
        "not a readable safetensors file",
    ),
    "metadata-of-nothing": (lambda whole: with_header(whole, {**header_of(whole), "__metadata__": None}), "of semples"),
    "no-metadata": (lambda whole: save(load(whole)), "of semples"),
}


def changed(**texts: str | None) -> Change:
    """A change of metadata; None leaves one out."""

    def change(content: bytes) -> bytes:
        header = header_of(content)
        metadata = {**header["__metadata__"], **texts}
        kept = {name: text for name, text in metadata.items() if text is not None}
        return with_header(content, {**header, "__metadata__": kept})

    return change


def rearranged(change: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]) -> Change:
    """A change of tensors, the metadata kept."""

    def apply(content: bytes) -> bytes:
        tensors = {name: np.ascontiguousarray(each) for name, each in change(dict(load(content))).items()}
        return save(tensors, header_of(content)["__metadata__"])

    return apply


def each_first(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """A change of the first tensor."""
    return rearranged(lambda tensors: {**tensors, min(tensors): change(tensors[min(tensors)])})


def put_nan(array: np.ndarray) -> np.ndarray:
    """The array with one number that is none."""
    spoilt = array.copy()
    spoilt.flat[-1] = np.nan
    return spoilt


NAMES = json.dumps(["dog", "bird", "cat", "boat"])

_TEXTS: dict[str, tuple[Change, str]] = {
    "newer-version": (changed(format_version="2"), "reads up to 1; upgrade semples"),
    "version-of-words": (changed(format_version="two"), "of semples"),
    "version-of-5000-digits": (changed(format_version="9" * 5000), "of semples"),
    "version-in-arabic-digits": (changed(format_version="\u0661"), "of semples"),
    "version-below-0": (changed(format_version="-1"), "of semples"),
    "no-version": (changed(format_version=None), "of semples"),
    "kind-nobody-knows": (changed(kind="images"), "of semples"),
    "no-clip-name": (changed(clip_name=None), "does not say its 'clip_name'"),
    "no-weights-hash": (changed(weights_hash=None), "does not say its 'weights_hash'"),
    "activation-of-perhaps": (changed(quick_gelu="perhaps"), "is damaged"),
    "class-names-that-are-no-json": (changed(class_names="[dog"), "is damaged"),
    "class-names-that-are-a-text": (changed(class_names='"dogs"'), "is no list of names"),
    "class-names-that-are-numbers": (changed(class_names="[1, 2, 3, 4]"), "is no list of names"),
    "class-names-in-brackets-without-end": (changed(class_names="[" * 50_000), "is damaged"),
    "class-name-twice": (changed(class_names='["dog", "dog", "cat", "boat"]'), "class 'dog' is listed twice"),
    "class-called-background": (changed(class_names='["background", "b", "c", "d"]'), "is always class 0"),
    "class-without-name": (changed(class_names='["", "b", "c", "d"]'), "a class name is empty"),
    "fewer-class-names": (changed(class_names='["dog"]'), "is damaged"),
    "fewer-prompt-names": (changed(prompt_names='["dog"]'), "is damaged"),
    "no-settings": (changed(settings=None), "does not say its 'settings'"),
    "settings-that-are-a-list": (changed(settings="[1]"), "settings or curves by name"),
    "curves-that-are-a-number": (changed(curves="7"), "settings or curves by name"),
    "no-fingerprint": (changed(fingerprint=None), "does not say its 'fingerprint'"),
    "nan-in-it": (each_first(put_nan), "finite"),
    "infinite-in-it": (each_first(lambda array: array + np.float32(np.inf)), "finite"),
    "doubles": (each_first(lambda array: array.astype(np.float64)), "float32"),
    "whole-numbers": (each_first(lambda array: array.astype(np.int64)), "float32"),
    "of-another-clip": (changed(weights_hash="0" * 64), "other weights of"),
    "of-another-activation": (changed(quick_gelu="true"), ""),
    "of-a-model-that-is-not-there": (
        changed(clip_name="ViT-Z-99", settings=json.dumps({"engine": {"weights": "openai"}})),
        "say by --weights where its weights lie",
    ),
    "of-weights-that-are-a-device": (
        changed(settings=json.dumps({"engine": {"weights": "/dev/zero"}})),
        "say by --weights where its weights lie",
    ),
    "of-weights-that-are-a-number": (changed(settings=json.dumps({"engine": {"weights": 7}})), "--weights"),
}

# `damaged` is said of prompts in the plural.
PROMPTS: dict[str, tuple[Change, str]] = {
    **{name: (change, says.replace("is damaged", "are damaged")) for name, (change, says) in _TEXTS.items()},
    "no-vectors": (rearranged(lambda tensors: {"other": tensors["vectors"]}), "does not say its 'vectors'"),
    "flat-vectors": (each_first(lambda array: array[0]), "not (classes, length, width)"),
    "vectors-of-nothing": (each_first(lambda array: array[:, :0]), "not (classes, length, width)"),
    "vectors-of-other-classes": (each_first(lambda array: array[:2]), "do not go with 4 classes"),
    "vectors-of-another-width": (each_first(lambda array: array[:, :, :9]), "wide"),
    "length-of-many-words": (changed(prompt_length="99"), "prompts of length 99"),
    "length-without-number": (changed(prompt_length="long"), "are damaged"),
    "longer-than-the-window": (
        lambda whole: changed(prompt_length="400")(each_first(lambda array: np.resize(array, (4, 400, 16)))(whole)),
        "this CLIP reads",
    ),
    "template-without-place": (changed(template="a photo"), "does not say where the prompt stands"),
    "template-of-two-places": (changed(template="{} {}"), "does not say where the prompt stands"),
    "template-of-a-trap": (changed(template="{} {0.__class__}"), ""),
    "curves-of-words": (changed(curves='{"loss": ["small"]}'), "are damaged"),
}


def reshaped(**sizes: object) -> Change:
    """A change of what the file says of its layers."""

    def change(content: bytes) -> bytes:
        shape = {**json.loads(header_of(content)["__metadata__"]["shape"]), **sizes}
        kept = {name: size for name, size in shape.items() if size is not None}
        return changed(shape=json.dumps(kept))(content)

    return change


GENERATORS: dict[str, tuple[Change, str]] = {
    **_TEXTS,
    "stage-nobody-knows": (changed(stage="perfect"), "it is one of initial"),
    "shape-that-is-a-list": (changed(shape="[1]"), "settings or curves by name"),
    "width-of-a-billion": (reshaped(width=10**9), "in its shape"),
    "width-of-other-weights": (reshaped(width=64), "is damaged"),
    "width-below-0": (reshaped(width=-32), "in its shape"),
    "width-as-text": (reshaped(width="wide"), "is damaged"),
    "width-that-is-no-number": (reshaped(width=None), "is damaged"),
    "layers-without-end": (reshaped(num_layers=60_000), "is damaged"),
    "no-heads": (reshaped(num_heads=0), "is damaged"),
    "reduction-of-0": (reshaped(reduction=0), "is damaged"),
    "size-nobody-reads": (reshaped(height=3), "is damaged"),
    "pooling-nobody-knows": (reshaped(pooling="median"), ""),
    "of-the-other-kind": (changed(kind="weaktr"), "is damaged"),
    "no-tensor": (rearranged(lambda tensors: {"other": np.zeros(3, np.float32)}), "is damaged"),
    "a-tensor-more": (rearranged(lambda tensors: {**tensors, "x": np.zeros(3, np.float32)}), "is damaged"),
    "a-tensor-less": (
        rearranged(lambda tensors: {name: each for name, each in tensors.items() if name != "head.bias"}),
        "is damaged",
    ),
}
