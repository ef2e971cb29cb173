"""XML, npz and tar files that mean harm: nothing outside is read, written, unpacked or asked for."""

import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from audited import run_audited
from foreign_files import call
from hostile_pickles import COMMAND, named, whole
from hostile_pickles import call as reduce
from PIL import Image
from surroundings import state_of
from tar_files import special

from semples_cli.artifacts.cam_store import read_cam
from semples_cli.artifacts.count_files import read_counts
from semples_cli.data.cams.plain_npz import read_plain_npz
from semples_cli.data.image_folder import find_images
from semples_cli.data.images import read_image
from semples_cli.data.labels import voc_xml
from semples_cli.data.labels.voc_xml import read_voc_xml
from semples_cli.errors import DataError, SemplesError


def annotation(name):
    return f"<annotation><object><name>{name}</name></object></annotation>"


LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
XML = {
    "billion laughs": f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>{annotation("&l9;")}',
    "quadratic growth": f'<!DOCTYPE a [<!ENTITY x "{"a" * 50_000}">]>{annotation("&x;" * 50_000)}',
    "a file as an entity": f'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>{annotation("&x;")}',
    "a file as an entity of the class": '<!DOCTYPE a [<!ENTITY x SYSTEM "secret.txt">]>' + annotation("&x;"),
    "an address as an entity": f'<!DOCTYPE a [<!ENTITY x SYSTEM "http://ADDRESS/x">]>{annotation("&x;")}',
    "parameter entities": f'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://ADDRESS/x">%x;]>{annotation("dog")}',
    "entities that are not used": f'<!DOCTYPE a [<!ENTITY x "y">]>{annotation("dog")}',
    "an unparsed entity": f'<!DOCTYPE a [<!NOTATION n SYSTEM "n"><!ENTITY x SYSTEM "x" NDATA n>]>{annotation("dog")}',
    "an entity in itself": f'<!DOCTYPE a [<!ENTITY x "&x;">]>{annotation("&x;")}',
    "no end": "<annotation><object>",
    "two roots": annotation("dog") * 2,
    "an encoding that is none": f'<?xml version="1.0" encoding="bogus"?>{annotation("dog")}',
    "an encoding of UTF-7": f'<?xml version="1.0" encoding="UTF-7"?>{annotation("dog")}',
    "NUL": annotation("do\0g"),
    "control characters": annotation("do&#7;g"),
    "another root": "<svg onload='x'/>",
    "a page": "<!doctype html><html><script>alert(1)</script></html>",
}
# Harmless, and read: what they lead to is not followed.
READ_XML = {
    "a DTD elsewhere": f'<!DOCTYPE annotation SYSTEM "http://ADDRESS/x.dtd">{annotation("dog")}',
    "a stylesheet": f'<?xml-stylesheet href="http://ADDRESS/x.xsl"?>{annotation("dog")}',
    "an inclusion": annotation("dog").replace(
        "<annotation>",
        '<annotation xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="secret.txt" parse="text"/>',
    ),
    "a hundred thousand levels": annotation("dog").replace(
        "</annotation>", "<a>" * 100_000 + "</a>" * 100_000 + "</annotation>"
    ),
    "a long attribute": annotation("dog").replace("<object>", f'<object x="{"y" * 1_000_000}">'),
}


@pytest.fixture
def server():
    """A server that notes what it is asked for; ADDRESS in a file is its own."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    served = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    served.asked = asked
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def write_xml(folder, text, server):
    address = f"127.0.0.1:{server.server_address[1]}"
    (folder / "secret.txt").write_text("what is in there")
    (folder / "a.xml").write_bytes(text.replace("ADDRESS", address).encode())
    return read_voc_xml(folder, ["a"], None)


@pytest.mark.parametrize("name", XML)
def test_xml_is_a_problem_of_its_file_in_one_line(tmp_path, name, server):
    table = write_xml(tmp_path, XML[name], server)
    ((where, said),) = table.problems
    assert where == str(tmp_path / "a.xml")
    assert "\n" not in said
    assert "what is in there" not in said
    assert dict(table.rows) == {}
    assert server.asked == []


@pytest.mark.parametrize("name", READ_XML)
def test_xml_that_leads_elsewhere_is_read_without_going_there(tmp_path, name, server):
    table = write_xml(tmp_path, READ_XML[name], server)
    assert table.problems == ()
    assert table.rows["a"].names == ("dog",)
    assert server.asked == []


def test_xml_of_another_size_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(voc_xml, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "a.xml").write_text("<annotation>" + " " * 2**20 + "</annotation>")
    ((_, said),) = read_voc_xml(tmp_path, ["a"], None).problems
    assert said.startswith("1 MiB, where the boxes of a picture are a few kB")


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def object_npy(pickled):
    """An array of objects whose pickle is given."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": ()})
    return buffer.getvalue() + pickled


SYSTEM = whole(reduce(named("posix", "system"), COMMAND))
SCORES = npy(np.ones((1, 2, 3), np.float32))
KEYS = npy(np.array([1]))


def link_entry(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


NPZ = {
    "scores that are a pickle": {"scores.npy": object_npy(SYSTEM), "keys.npy": KEYS},
    "keys that are a pickle": {"scores.npy": SCORES, "keys.npy": object_npy(SYSTEM)},
    "keys of numpy's own pickle": {"scores.npy": SCORES, "keys.npy": object_npy(call(print, "ran"))},
    "a pickle by its other name": {"scores.npy": SCORES, "keys.pkl": SYSTEM},
    "all that is asked for, as pickles": {
        f"{name}.npy": object_npy(SYSTEM)
        for name in (
            "format_version",
            "class_indices",
            "scores",
            "image_size",
            "settings",
            "facts",
            "confusion",
            "curve",
        )
    },
    "names that lead out": {"../../scores.npy": SCORES, "/etc/keys.npy": KEYS},
    "a link": {link_entry("scores.npy"): b"/etc/passwd", "keys.npy": KEYS},
    "a header that is code": {
        "scores.npy": b"\x93NUMPY\x01\x00"
        + b"\x46\x00"
        + b"__import__('os').system('echo ran > ran')".ljust(69)
        + b"\n",
        "keys.npy": KEYS,
    },
    "a header of a record": {
        "scores.npy": SCORES.replace(b"'<f4'", b"'O'  "),
        "keys.npy": KEYS,
    },
}


def write_npz(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", NPZ)
def test_npz_files_are_refused_in_one_line(tmp_path, name):
    path = write_npz(tmp_path / "a.npz", NPZ[name])
    before = state_of(tmp_path)
    for read in (read_plain_npz, lambda path: read_cam(path, "a"), read_counts):
        with pytest.raises(SemplesError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert state_of(tmp_path) == before


AUDITED = """
from pathlib import Path
from test_hostile_archives import NPZ, READ_XML, XML, write_npz
from semples_cli.artifacts.cam_store import read_cam
from semples_cli.artifacts.count_files import read_counts
from semples_cli.data.cams.plain_npz import read_plain_npz
from semples_cli.data.labels.voc_xml import read_voc_xml
from semples_cli.errors import SemplesError

folder = Path(sys.argv[1])
npz = [write_npz(folder / f"{number}.npz", entries) for number, entries in enumerate(NPZ.values())]
for number, text in enumerate([*XML.values(), *READ_XML.values()]):
    (folder / f"{number}.xml").write_bytes(text.replace("ADDRESS", "127.0.0.1:9").encode())

def read_all():
    refused = 0
    for path in npz:
        for read in (read_plain_npz, lambda path: read_cam(path, "a"), read_counts):
            try:
                read(path)
            except SemplesError:
                refused += 1
    return refused + len(read_voc_xml(folder, [path.stem for path in folder.glob("*.xml")], None).problems)

first = read_all()  # what is imported at first use is imported now
with watched():
    refused = read_all()
finish(refused=refused, first=first)
"""


def test_nothing_runs_is_written_or_asked_for(tmp_path):
    for name in ("files", "here"):
        (tmp_path / name).mkdir()
    told = run_audited(AUDITED, tmp_path / "here", tmp_path / "files")
    # numpy takes a header apart by ast.literal_eval: a syntax tree, of which nothing is run.
    assert {each.split()[0] for each in told["seen"]} <= {"compile"}
    assert told["refused"] == told["first"] == 3 * len(NPZ) + len(XML)
    assert list((tmp_path / "here").iterdir()) == []


def write_hostile_tar(path):
    """One good image, and members that lead elsewhere."""
    image = io.BytesIO()
    Image.new("RGB", (4, 3)).save(image, "PNG")
    members = [
        "good.png",
        "../up.png",
        "a/../../up.png",
        "/etc/up.png",
        "..",
        "C:\\up.png",
        "x\0y.png",
        ".\\..\\up.png",
    ]
    with tarfile.open(path, "w") as tar:
        for name in members:
            info = tarfile.TarInfo(name)
            info.size = len(image.getvalue())
            tar.addfile(info, io.BytesIO(image.getvalue()))
        tar.addfile(special("link.png", tarfile.SYMTYPE, "/etc/passwd"))
        tar.addfile(special("hard.png", tarfile.LNKTYPE, "../../secret.png"))
        tar.addfile(special("device.png", tarfile.CHRTYPE))
        tar.addfile(special("pipe.png", tarfile.FIFOTYPE))
    return path


def test_a_tar_is_never_unpacked_and_its_links_are_not_followed(tmp_path):
    Image.new("RGB", (4, 3), "red").save(tmp_path / "secret.png")
    (tmp_path / "in").mkdir()
    tar = write_hostile_tar(tmp_path / "in/a.tar")
    before = state_of(tmp_path)
    outcomes = {}
    for image in find_images([tar]):
        assert not {"", ".", ".."} & set(image.id.split("/"))
        try:
            outcomes[image.id] = read_image(image.path).shape
        except DataError as error:
            outcomes[image.id] = str(error)
            assert "\n" not in outcomes[image.id], image
    # A slash in front goes, as tar itself unpacks it; a backslash is a letter here.
    assert {key for key, found in outcomes.items() if found == (3, 4, 3)} == {"a/good", "a/etc/up", "a/C:\\up"}
    for name in ("link", "hard", "device", "pipe"):
        assert isinstance(outcomes[f"a/{name}"], str), name
    assert "by '..'" in outcomes["a/up"]
    assert state_of(tmp_path) == before
