"""Every parser of bytes that others may have written, as a function of bytes that may raise a SemplesError alone.

The fuzzer (fuzz_parsers.py) feeds them with what it makes up, the tests with what once broke them.
"""

import io
import pickle
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from semples_cli.artifacts.cam_store import read_cam, write_cam
from semples_cli.artifacts.count_files import PixelCounts, read_counts, read_fingerprint, write_counts
from semples_cli.artifacts.generator_file import GeneratorWeights, read_generator, write_generator
from semples_cli.artifacts.label_files import WRITTEN_FORMS, write_class_list, write_labels
from semples_cli.artifacts.manifest_entries import read_manifest
from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.artifacts.prompts_file import read_prompt_training, read_prompts, write_prompts
from semples_cli.artifacts.report_files import read_report
from semples_cli.artifacts.run_folder import read_class_set, read_run_record
from semples_cli.data import braces
from semples_cli.data.background_words import read_background_words
from semples_cli.data.cams.recognise import read_foreign
from semples_cli.data.class_list import read_class_list
from semples_cli.data.coco_shapes import draw_region
from semples_cli.data.dataset import load_labels
from semples_cli.data.images import read_image, read_image_size
from semples_cli.data.labels.recognise import read_labels
from semples_cli.data.labels.voc_main import read_voc_main
from semples_cli.data.labels.voc_xml import read_voc_xml
from semples_cli.data.labels.webdataset import read_webdataset_source
from semples_cli.data.voc import read_split
from semples_cli.errors import SemplesError
from semples_cli.tars.members import open_file, read_tar
from semples_cli.types import Cam, ClassSet, PromptSet

CLASSES = ClassSet(("cat", "dog", "hot dog"))
TEXT_FORMS = ("auto", "list-csv", "onehot-csv", "long-csv", "headerless-csv", "wsss-list", "wsss-list-from-0")
CAM_FORMS = ("clip-es", "irn", "weaktr", "npz")
MAX_PIXELS = 100_000

_Run = Callable[[bytes, Path], None]


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        run: Gives it some bytes, and a folder of its own to keep them in; anything but a SemplesError is a crash.
        seeds: Valid inputs to begin with.
    """

    run: _Run
    seeds: Callable[[Path], Iterable[bytes]]


def _write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _refusing(read: Callable[[], object]) -> None:
    with suppress(SemplesError):
        read()


# Labels


def _labels(name: str, form: str = "auto") -> _Run:
    """A label file, with a class list, without one, and with the order settled."""

    def run(data: bytes, folder: Path) -> None:
        path = _write(folder, name, data)
        _refusing(lambda: read_labels(path, form, CLASSES))
        _refusing(lambda: load_labels(path, labels_format=form))

    return run


def _text_labels(data: bytes, folder: Path) -> None:
    """The first byte says by which format."""
    form = TEXT_FORMS[data[0] % len(TEXT_FORMS)] if data else "auto"
    _labels("labels.csv", form)(data[1:], folder)


def _voc_main(data: bytes, folder: Path) -> None:
    _write(folder, "Main/cat_train.txt", data)
    _refusing(lambda: read_voc_main(folder / "Main", CLASSES))


def _voc_xml(data: bytes, folder: Path) -> None:
    _write(folder, "Annotations/a.xml", data)
    read_voc_xml(folder / "Annotations", ["a"], None)


def _split(data: bytes, folder: Path) -> None:
    _write(folder, "ImageSets/Segmentation/train.txt", data)
    _refusing(lambda: read_split(folder, "train"))


def _class_list(data: bytes, folder: Path) -> None:
    path = _write(folder, "classes.txt", data)
    _refusing(lambda: read_class_list(path))
    _refusing(lambda: read_background_words(str(path)))


def _braces(data: bytes, folder: Path) -> None:
    """A million names take seconds, so a thousand are the limit here."""
    del folder
    text = data[:200].decode(errors="replace").replace("\0", "")
    with mock.patch.object(braces, "MAX_NAMES", 1000), suppress(SemplesError):
        assert braces.expand_braces([Path(text)])


def _region(data: bytes, folder: Path) -> None:
    del folder
    _refusing(lambda: draw_region({"size": [7, 9], "counts": data.decode("latin-1")}, (7, 9)))


def _tar(data: bytes, folder: Path) -> None:
    path = _write(folder, "t.tar", data)
    with suppress(SemplesError):
        index = read_tar(path)
        for name, _ in zip(index, range(5), strict=False):
            with suppress(OSError), open_file(path / name) as handle:
                handle.read(1000)
    _refusing(lambda: read_webdataset_source(path, CLASSES))


def _written_labels(data: bytes, folder: Path) -> None:
    """What is written is read back, or refused before it is written."""
    form, names = WRITTEN_FORMS[data[0] % len(WRITTEN_FORMS)] if data else "jsonl", data[1:].decode(errors="ignore")
    path = folder / "out" / {"jsonl": "l.jsonl", "cls-labels-npy": "l.npy", "wsss-list": "l.txt"}.get(form, "l.csv")
    with suppress(SemplesError):
        images, classes = (part.split("\x01") for part in (names + "\x02").split("\x02")[:2])
        class_set = ClassSet(tuple(classes))
        rows = {name: class_set.names[: k % 3] for k, name in enumerate(images)}
        write_labels(path, form, rows, class_set)
        sure = "wsss-list-from-0" if form == "wsss-list" else form
        again = read_labels(path, sure, class_set)
        assert not again.problems, again.problems
        assert {key: set(row.names) for key, row in again.rows.items()} == {k: set(v) for k, v in rows.items()}


# Images and artifacts


def _image(data: bytes, folder: Path) -> None:
    path = _write(folder, "a.png", data)
    _refusing(lambda: read_image(path, MAX_PIXELS))
    _refusing(lambda: read_image_size(path))


def _file(name: str, *readers: Callable[[Path], object]) -> _Run:
    def run(data: bytes, folder: Path) -> None:
        path = _write(folder, name, data)
        for read in readers:
            _refusing(lambda read=read: read(path))

    return run


def _run_record(data: bytes, folder: Path) -> None:
    _write(folder, ".semples/run.json", data)
    _refusing(lambda: read_run_record(folder))
    _refusing(lambda: read_class_set(folder))


def _foreign_npy(data: bytes, folder: Path) -> None:
    form = CAM_FORMS[data[0] % 3] if data else "irn"
    path = _write(folder, "a.npy", data[1:])
    _refusing(lambda: read_foreign(path, form, None))


# Checksums stop what is made up at the door, so these make them right and let it in.


def _members(valid: Callable[[Path], list[bytes]], run: _Run) -> _Run:
    """An npz of which one member is the input; its first byte says which."""

    @cache
    def parts() -> list[tuple[str, bytes]]:
        with tempfile.TemporaryDirectory() as folder:
            whole = valid(Path(folder) / "valid")[0]
        with zipfile.ZipFile(io.BytesIO(whole)) as source:
            return [(name, source.read(name)) for name in source.namelist()]

    def inner(data: bytes, folder: Path) -> None:
        text = io.BytesIO()
        with zipfile.ZipFile(text, "w") as target:
            for k, (name, content) in enumerate(parts()):
                chosen = bool(data) and k == data[0] % len(parts())
                target.writestr(name, data[1:] if chosen else content)
        run(text.getvalue(), folder)

    return inner


def _member_seeds(valid: Callable[[Path], list[bytes]]) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        with zipfile.ZipFile(io.BytesIO(valid(folder)[0])) as source:
            return [bytes([k]) + source.read(name) for k, name in enumerate(source.namelist())]

    return make


def _sealed_png(data: bytes, folder: Path) -> None:
    """Every chunk gets the checksum of what it holds."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunk = data[at + 4 : at + 8 + size]
        out += data[at : at + 4] + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        at += 12 + size
    _file("m.png", read_mask)(bytes(out), folder)
    _image(bytes(out), folder)


def _sealed_tar(data: bytes, folder: Path) -> None:
    """Every block that looks like a header gets the checksum of what it holds."""
    blocks = bytearray(data + bytes(-len(data) % 512) + bytes(1024))
    for at in range(0, len(blocks), 512):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    _tar(bytes(blocks), folder)


def _pickled(data: bytes, folder: Path) -> None:
    """A pickle behind a good header of .npy."""
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "|O", "fortran_order": False, "shape": ()})
    _labels("l.npy")(text.getvalue() + data, folder)
    for form in range(3):
        _foreign_npy(bytes([form]) + text.getvalue() + data, folder)


# Seeds


def _texts(*texts: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [text.encode() for text in texts]


def _written(write: Callable[[Path], object]) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]

    return make


def _npy(content: object) -> bytes:
    text = io.BytesIO()
    np.save(text, np.array(content, object), allow_pickle=True)
    return text.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    text = io.BytesIO()
    np.savez_compressed(text, **arrays)
    return text.getvalue()


def _images(folder: Path) -> list[bytes]:
    del folder
    pixels = Image.fromarray(np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for form, options in (
        ("PNG", {}), ("JPEG", {"exif": exif}), ("GIF", {}), ("BMP", {}), ("WEBP", {"exif": exif}), ("PPM", {}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_deflate"}),
    ):  # fmt: skip
        text = io.BytesIO()
        pixels.save(text, form, **options)
        found.append(text.getvalue())
    for mode in ("P", "LA", "I;16", "1", "CMYK"):
        text = io.BytesIO()
        pixels.convert("L").convert(mode).save(text, "TIFF" if mode == "CMYK" else "PNG")
        found.append(text.getvalue())
    return found


_MEMBERS = (("a/1.jpg", b"x"), ("a/1.cls", b"1"), ("ä" * 40 + ".jpg", b""), ("2.json", b'{"cls": 1}'))


def _tars(folder: Path) -> list[bytes]:
    del folder
    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        text = io.BytesIO()
        with tarfile.open(fileobj=text, mode="w", format=form) as tar:
            for name, content in (
                ("a/1.jpg", b"x"),
                ("a/1.cls", b"1"),
                ("ä" * 40 + ".jpg", b""),
                ("2.json", b'{"cls": 1}'),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            link = tarfile.TarInfo("link.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "../../x"
            tar.addfile(link)
        found.append(text.getvalue())
    return found


def _write_prompts(folder: Path) -> None:
    vectors = np.ones((2, 1, 2), np.float32)
    write_prompts(
        folder / "p.safetensors", PromptSet(("cat", "dog"), ("cat", "dog"), vectors, "ViT-B-16", "0" * 64, True)
    )


def _write_generator(folder: Path) -> None:
    shape = {"width": 2, "num_layers": 1, "num_heads": 1, "reduction": 1, "pooling": "max", "residual": 1.0}
    tensors = {"head.weight": np.ones((1, 2), np.float32)}
    weights = GeneratorWeights("clip_head", "initial", ("cat",), ("cat",), "ViT-B-16", "0" * 64, True, shape, tensors)
    write_generator(folder / "g.safetensors", weights)


def _write_counts(folder: Path) -> None:
    counts = PixelCounts(
        ("background", "cat"), np.ones((2, 3), np.int64), 1, ("b",), 0.4, np.array([0.1]),
        np.zeros((2, 2, 2), np.int64), {"a": 0.5},
    )  # fmt: skip
    write_counts(folder / "c.npz", counts, "0" * 64)


def _write_cam(folder: Path) -> None:
    write_cam(folder, Cam("a", np.array([1, 2]), np.full((2, 2, 3), 0.5, np.float32), (8, 6)), {"k": 1})


def _write_masks(folder: Path) -> None:
    write_mask(folder / "a.png", np.eye(4, dtype=np.uint8))
    write_mask(folder / "b.png", np.eye(4, dtype=np.uint8), "L")


def _write_class_list(folder: Path) -> None:
    write_class_list(folder / "classes.txt", ClassSet(("cat", "hot dog"), ("cat", "sausage")))


_CAM_SEEDS = (
    b"\0" + _npy({"keys": np.array([0, 4]), "attn_highres": np.ones((2, 2, 3), np.float16)}),
    b"\x01" + _npy({"keys": np.array([1]), "cam": np.ones((1, 2, 3), np.float32), "high_res": np.ones((1, 2, 3))}),
    b"\x02" + _npy({0: np.ones((2, 3), np.float32)}),
)
_PICKLED = (
    np.array({"a": np.array([1, 0, 1]), 7: [1, 0, 0]}, object),
    np.array({"keys": np.array([1]), "high_res": np.ones((1, 2, 3), np.float32)}, object),
)
_FOREIGN_NPZ = _file("c.npz", lambda path: read_foreign(path, "npz", None))


def _foreign_npz_seeds(folder: Path) -> list[bytes]:
    del folder
    arrays = np.ones((1, 2, 2)), np.ones((2, 2), np.float32)
    return [_npz(scores=arrays[0], class_indices=np.array([1])), _npz(cat=arrays[1])]


_MANIFEST = (
    '{"id": "a", "status": "ok", "reason": "", "key": "k", "seconds": 1.0, "output": "a.png", "confidence": 0.5, '
    '"files": [{"path": "/a.jpg", "size": 1, "mtime_ns": 2, "sha256": "0"}], "class_confidence": {"cat": 0.5}}\n'
)
_RUN = (
    '{"format_version": 1, "command": "cams", "classes": {"names": ["cat"], "prompt_names": ["cat"]}, "settings": {}, '
    '"inputs": ["a"], "weights": {"sha256": "0"}}'
)
_REPORT = '{"class_names": ["background", "cat"], "iou": [0.5, null], "miou": 0.5, "confusion": [[1, 0, 0], [0, 1, 0]]}'
_COCO = (
    '{"images": [{"id": 1, "file_name": "a.jpg", "height": 2, "width": 2}], "annotations": [{"image_id": 1, '
    '"category_id": 3, "segmentation": [[0, 0, 1, 0, 1, 1]], "iscrowd": 0}], "categories": [{"id": 3, "name": "cat"}]}'
)

TARGETS: dict[str, Target] = {
    "csv": Target(
        _text_labels,
        _texts(
            "\0image,labels\na.jpg,cat|dog\n", "\0filename,cat,dog\na.jpg,1,0\n",
            "\0ImageID,LabelName,Confidence\na,cat,1\n",
            "\x04a.jpg,cat,\"hot dog\"\n", "\x05a 0 1\nb 2\n", "\x01id;tags\r\nb;['cat', 'dog']\r\n",
        ),
    ),
    "jsonl": Target(
        _labels("l.jsonl"),
        _texts('{"file_name": "a.jpg", "labels": ["cat"]}\n{"image": "b", "objects": {"categories": ["dog"]}}\n'),
    ),
    "coco-json": Target(_labels("l.json", "coco-json"), _texts(_COCO)),
    "label-studio": Target(
        _labels("l.json", "label-studio"),
        _texts(
            '[{"id": 1, "data": {"image": "/data/a.jpg"}, "annotations": [{"result": [{"type": "choices", "value": '
            '{"choices": ["cat"]}}]}]}]',
            '[{"image": "http://x/a.jpg", "choice": "cat", "label": [{"rectanglelabels": ["dog"]}]}]',
        ),
    ),
    "labelme": Target(
        _labels("l.json", "labelme"),
        _texts('{"flags": {"dog": true}, "shapes": [{"label": "cat"}], "imagePath": "..\\\\a.jpg"}'),
    ),
    "voc-xml": Target(
        _voc_xml,
        _texts(
            "<annotation><object><name>cat</name><difficult>1</difficult></object></annotation>",
            '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE a [<!ENTITY e "x">]><annotation/>',
        ),
    ),
    "voc-main": Target(_voc_main, _texts("a 1\nb -1\nc  0\n")),
    "split-list": Target(_split, _texts("a\nb\n", "/JPEGImages/a.jpg /SegmentationClass/a.png\n")),
    "cls-labels-npy": Target(
        _labels("l.npy"), lambda folder: [_npy({"a": np.array([1, 0, 1])}), _npy({2007000032: [1, 0, 0]})]
    ),
    "class-list": Target(_class_list, _written(_write_class_list)),
    "braces": Target(_braces, _texts("a-{00..09}.tar", "{a,b}-x", "{3..1}")),
    "coco-rle": Target(_region, _texts("PPP0", "0o1", "n1P1")),
    "tar": Target(_tar, _tars),
    "written-labels": Target(
        _written_labels, _texts("\0a.jpg\x01b.jpg\x02cat\x01hot dog", "\x01a.png\x02cat", "\x04a\x02b")
    ),
    "image": Target(_image, _images),
    "mask-png": Target(_file("m.png", read_mask), _written(_write_masks)),
    "cam-npz": Target(_file("c.npz", lambda path: read_cam(path, "a")), _written(_write_cam)),
    "prompts": Target(_file("p.safetensors", read_prompts, read_prompt_training), _written(_write_prompts)),
    "generator": Target(_file("g.safetensors", read_generator), _written(_write_generator)),
    "manifest": Target(_file("manifest.jsonl", read_manifest), _texts(_MANIFEST * 2)),
    "run-json": Target(_run_record, _texts(_RUN)),
    "report-json": Target(_file("report.json", read_report), _texts(_REPORT)),
    "counts-npz": Target(_file("c.npz", read_counts, read_fingerprint), _written(_write_counts)),
    "foreign-npy": Target(_foreign_npy, lambda folder: list(_CAM_SEEDS)),
    "foreign-npz": Target(_FOREIGN_NPZ, _foreign_npz_seeds),
    "cam-members": Target(
        _members(_written(_write_cam), _file("c.npz", lambda path: read_cam(path, "a"))),
        _member_seeds(_written(_write_cam)),
    ),
    "counts-members": Target(
        _members(_written(_write_counts), _file("c.npz", read_counts, read_fingerprint)),
        _member_seeds(_written(_write_counts)),
    ),
    "foreign-members": Target(_members(_foreign_npz_seeds, _FOREIGN_NPZ), _member_seeds(_foreign_npz_seeds)),
    "png-chunks": Target(_sealed_png, _written(_write_masks)),
    "tar-headers": Target(_sealed_tar, _tars),
    "pickles": Target(
        _pickled, lambda folder: [pickle.dumps(content, k) for content in _PICKLED for k in (2, 3, 4, 5)]
    ),
}  # fmt: skip


def seeds_of(name: str) -> list[bytes]:
    """The seeds of a target."""
    with tempfile.TemporaryDirectory() as folder:
        return list(TARGETS[name].seeds(Path(folder) / "seeds"))


def try_target(name: str, data: bytes) -> None:
    """Give a target some bytes, in a folder that goes afterwards; whatever it raises is a crash."""
    memory = Path("/dev/shm")  # # half a million files an hour: none of them need reach a disk
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        TARGETS[name].run(data, folder)
    finally:
        shutil.rmtree(folder)
