"""Hostile CAM files: `OURS` as `cams/<id>.npz` of a run, `NPZ` as files of another project.

Each maps a name to a content and to what must be said of it; '' where it is good. The image is 24 × 40; class 1 of 3.
"""

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from bad_images import SIZE, flipped
from numpy.lib import format as npy_format

GRID = (3, 5)
_BAD, _NO_CAM, _RANGE, _PICKLE = (
    "not a readable CAM",
    "which is not a CAM",
    "must be finite and lie in [0, 1]",
    "Object arrays",
)


def scores(value: float = 0.5, classes: int = 1, kind: type = np.float16) -> np.ndarray:
    """(K, h, w) of one value."""
    return np.full((classes, *GRID), value, kind)


def good() -> dict[str, object]:
    """The arrays of a CAM of ours."""
    return {
        "format_version": np.int64(1),
        "class_indices": np.array([1]),
        "scores": scores(),
        "image_size": np.array(SIZE),
        "settings": np.array(json.dumps({})),
    }


def npz(arrays: Mapping[str, object], *, packed: bool = True) -> bytes:
    """The file of these arrays; object arrays are pickled, as numpy does unasked."""
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def ours(**changes: object) -> Callable[[], bytes]:
    """A CAM of ours with some arrays changed, or left out where they are None."""
    return lambda: npz({name: value for name, value in {**good(), **changes}.items() if value is not None})


class Harmful:
    """Pickled, it would make a file where it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("hostile-was-here", "w")


def npy_header(shape: object, kind: str = "<f2", order: object = False) -> bytes:
    """The head of a `.npy` file that announces any shape."""
    buffer = io.BytesIO()
    npy_format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": order, "shape": shape})
    return buffer.getvalue()


def zipped(entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of any entries, under any names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_scores(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Callable[[], bytes]:
    """A CAM of ours whose scores are these bytes."""

    def make() -> bytes:
        with zipfile.ZipFile(io.BytesIO(npz(good()))) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        return zipped({**entries, "scores.npy": content}, method)

    return make


def bomb(gigabytes: int) -> bytes:
    """A CAM of a few megabytes whose scores unpack to gigabytes of zeros."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = pack.compress(npy_header((gigabytes, 2**14, 2**15))) + pack.flush(zlib.Z_FULL_FLUSH)
    block = pack.compress(bytes(2**20)) + pack.flush(zlib.Z_FULL_FLUSH)
    packed = head + block * (1024 * gigabytes) + pack.flush()
    # Its checksum is wrong, which shows only where all of it was unpacked.
    sizes = struct.pack("<III", 0, len(packed), 128 + gigabytes * 2**30)
    name, rest = b"scores.npy", ours(scores=None)()
    fields = struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes + struct.pack("<HH", len(name), 0)
    local = b"PK\x03\x04" + fields + name + packed
    end = rest.rfind(b"PK\x05\x06")
    count, length, start = struct.unpack("<HII", rest[end + 10 : end + 20])
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, start) + name
    directory = rest[start : start + length] + entry
    tail = struct.pack("<HHHHIIH", 0, 0, count + 1, count + 1, len(directory), start + len(local), 0)
    return rest[:start] + local + directory + b"PK\x05\x06" + tail


def encrypted() -> bytes:
    """A CAM whose entries say that they are encrypted."""
    content = bytearray(npz(good()))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= 1
    return bytes(content)


def lying(announced: int) -> bytes:
    """A CAM whose directory announces so many bytes for its scores."""
    content = bytearray(npz(good()))
    at = content.rfind(b"scores.npy") - 46
    content[at + 24 : at + 28] = announced.to_bytes(4, "little")
    return bytes(content)


DEEP = b"\x93NUMPY\x01\0" + (9000).to_bytes(2, "little") + (b"(" * 8999 + b"\n")

OURS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", _BAD),
    "text": (lambda: b"no archive", _BAD),
    "one-array-alone": (lambda: npy_header((1, *GRID)) + scores().tobytes(), _BAD),
    "pickle-alone": (lambda: pickle.dumps(Harmful()), _BAD),
    "html": (lambda: b"<!DOCTYPE html><html></html>", _BAD),
    "archive-of-nothing": (lambda: zipped({}), _BAD),
    **{
        f"cut-{share}": (lambda share=share: ours()()[: int(share * len(ours()()))], _BAD)
        for share in (0.1, 0.5, 0.9, 0.99)
    },
    "bits-turned-in-its-directory": (lambda: ours()()[:-60] + flipped(ours()()[-60:], "d", 12), _BAD),
    "bits-turned-in-its-first-entry": (lambda: flipped(ours()()[:90], "e", 40, 30) + ours()()[90:], _BAD),
    "encrypted": (encrypted, _BAD),
    "directory-says-2-gb": (lambda: lying(2**31 - 1), "more than the 536870912"),
    "directory-says-less": (lambda: lying(40), _BAD),
    "bomb-of-1-gb": (lambda: bomb(1), "more than the 536870912"),
    "scores-announce-more": (with_scores(npy_header((1, 4000, 4000)) + bytes(99)), _BAD),
    "scores-announce-an-exabyte": (with_scores(npy_header((2**20, 2**20, 2**20)) + bytes(99)), _BAD),
    "scores-announce-less-than-nothing": (with_scores(npy_header((-1, 3, 5)) + bytes(99)), _BAD),
    "scores-of-a-shape-that-overflows": (with_scores(npy_header((2**63, 2**63, 2)) + bytes(99)), _BAD),
    "scores-of-a-header-too-deep": (with_scores(DEEP), _BAD),
    "scores-of-no-header": (with_scores(b"\x93NUMPY\x01\0\xff\xff"), _BAD),
    "scores-of-format-9": (with_scores(b"\x93NUMPY\x09\0\x01\0 "), _BAD),
    "scores-are-text": (with_scores(b"0.5 0.5"), _NO_CAM),
    "packed-as-lzma-and-cut": (lambda: with_scores(bytes(99), zipfile.ZIP_LZMA)()[:-200], _BAD),
    "pickled-scores": (ours(scores=np.array([Harmful()], object)), _PICKLE),
    "pickled-classes": (ours(class_indices=np.array([1, None], object)), _PICKLE),
    "pickled-version": (ours(format_version=np.array(Harmful(), object)), _PICKLE),
    "nan": (ours(scores=scores(np.nan)), _RANGE),
    "infinite": (ours(scores=scores(np.inf)), _RANGE),
    "minus-infinite": (ours(scores=scores(-np.inf)), _RANGE),
    "one-nan-among-many": (ours(scores=np.where(np.arange(15).reshape(1, *GRID) == 7, np.nan, 0.5)), _RANGE),
    "below-0": (ours(scores=scores(-0.25)), _RANGE),
    "above-1": (ours(scores=scores(1.5)), _RANGE),
    "beyond-float32": (ours(scores=scores(1e300, kind=np.float64)), _RANGE),
    "whole-numbers": (ours(scores=np.ones((1, *GRID), np.int64)), _NO_CAM),
    "complex": (ours(scores=np.ones((1, *GRID), complex)), _NO_CAM),
    "texts-for-scores": (ours(scores=np.full((1, *GRID), "0.5")), _NO_CAM),
    "dates-for-scores": (ours(scores=np.full((1, *GRID), "2024-01-01", "datetime64[s]")), _NO_CAM),
    "records-for-scores": (ours(scores=np.zeros((1, *GRID), [("a", "f4")])), _NO_CAM),
    "two-dimensions": (ours(scores=np.zeros(GRID, np.float16)), _NO_CAM),
    "no-pixel": (ours(scores=np.zeros((1, 0, 5), np.float16)), "have no pixel"),
    "more-maps-than-classes": (ours(scores=scores(classes=3)), "do not go with 1 classes"),
    "class-0": (ours(class_indices=np.array([0])), "must be different and lie in 1..254"),
    "class-255": (ours(class_indices=np.array([255])), "must be different and lie in 1..254"),
    "class-minus-1": (ours(class_indices=np.array([-1])), "must be different and lie in 1..254"),
    "class-2-to-the-63": (ours(class_indices=np.array([2**63], np.uint64)), "must be different and lie in 1..254"),
    "class-twice": (
        ours(class_indices=np.array([1, 1]), scores=scores(classes=2)),
        "must be different and lie in 1..254",
    ),
    "class-of-half": (ours(class_indices=np.array([1.5])), _NO_CAM),
    "class-that-is-not-in-the-list": (ours(class_indices=np.array([9])), "holds class 9, but there are 3"),
    "size-of-another-image": (ours(image_size=np.array([40, 24])), "its CAM is for 40×24"),
    "size-of-nothing": (ours(image_size=np.array([0, 40])), "cannot be"),
    "size-below-0": (ours(image_size=np.array([-24, 40])), "cannot be"),
    "size-of-2-to-the-60": (ours(image_size=np.array([2**60, 2**60])), "cannot be"),
    "size-of-a-gigapixel": (ours(image_size=np.array([2**15, 2**15])), "cannot be"),
    "size-beyond-64-bits": (ours(image_size=np.array([2**64 - 1, 40], np.uint64)), "cannot be"),
    "size-of-three": (ours(image_size=np.array([24, 40, 3])), _NO_CAM),
    "newer-version": (ours(format_version=np.int64(2)), "reads up to 1; upgrade semples"),
    "version-of-nan": (ours(format_version=np.float64(np.nan)), _BAD),
    "version-without-end": (ours(format_version=np.float64(np.inf)), _BAD),
    "version-of-several": (ours(format_version=np.array([1, 1])), _BAD),
    "version-as-text": (ours(format_version=np.array("one")), _BAD),
    "no-version": (ours(format_version=None), _BAD),
    "no-scores": (ours(scores=None), _BAD),
    "no-classes-array": (ours(class_indices=None), _BAD),
    "no-size": (ours(image_size=None), _BAD),
    "entries-that-lead-out": (lambda: zipped({"../../x.npy": b"1", "/etc/x.npy": b"2"}), _BAD),
    "good-with-an-entry-that-leads-out": (lambda: npz({**good(), "../../../hostile-was-here": np.zeros(3)}), ""),
    "good-of-no-class": (ours(class_indices=np.zeros(0, np.int64), scores=np.zeros((0, *GRID), np.float16)), ""),
    "good-of-doubles": (ours(scores=scores(kind=np.float64)), ""),
    "good-of-the-other-byte-order": (ours(scores=scores().astype(">f2")), ""),
}


def foreign(**arrays: object) -> Callable[[], bytes]:
    """A plain npz of a class counted from 1, with some arrays changed."""
    return lambda: npz({"scores": scores(kind=np.float32), "keys": np.array([1]), **arrays})


_PLAIN = "cannot be read as npz without pickles"

NPZ: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", _PLAIN),
    "text": (lambda: b"no archive", _PLAIN),
    "cut": (lambda: foreign()()[:-40], _PLAIN),
    "bits-turned": (lambda: foreign()()[:-60] + flipped(foreign()()[-60:], "p", 12), _PLAIN),
    "bomb-of-3-gb": (lambda: bomb(3), "too large"),
    "encrypted": (encrypted, _PLAIN),
    "pickled": (foreign(scores=np.array([Harmful()], object)), _PICKLE),
    "nan": (foreign(scores=scores(np.nan)), "NaN or infinite"),
    "infinite": (foreign(scores=scores(np.inf)), "NaN or infinite"),
    "longer-than-double": (foreign(scores=scores(1, kind=np.longdouble) * np.longdouble("1e4000")), "NaN or infinite"),
    "whole-numbers": (foreign(scores=np.ones((1, *GRID), np.int32)), "save them as float32"),
    "no-pixel": (foreign(scores=np.zeros((1, 3, 0), np.float32)), "CAMs are (classes, height, width)"),
    "two-dimensions": (foreign(scores=np.zeros(GRID, np.float32)), "CAMs are (classes, height, width)"),
    "keys-of-half": (foreign(keys=np.array([0.5])), "a list of class numbers"),
    "keys-as-table": (foreign(keys=np.array([[1]])), "a list of class numbers"),
    "key-twice": (foreign(keys=np.array([1, 1])), "give each number once"),
    "key-beyond-the-list": (foreign(keys=np.array([4])), "classes counted from"),
    "key-of-2-to-the-63": (foreign(keys=np.array([2**63], np.uint64)), "classes counted from"),
    "more-keys-than-maps": (foreign(keys=np.array([1, 2])), "each key has its map"),
    "entry-that-leads-out": (lambda: zipped({"../../x.npy": b"1"}), "CAMs are (classes, height, width)"),
    "scores-are-text": (lambda: zipped({"scores.npy": b"0.5", "keys.npy": b"1"}), "a list of class numbers"),
    "good-below-0": (foreign(scores=scores(-2.0)), ""),
    "good-above-1": (foreign(scores=scores(7.0)), ""),
    "good": (foreign(), ""),
}
