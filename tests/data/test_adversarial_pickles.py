"""Pickles that mean harm: each is refused for what it is, and nothing runs, as the interpreter's audit events say."""

import pickle
import pickletools
import re

import numpy as np
import pytest
import torch
from audited import run_audited
from foreign_files import as_object, save_pickled
from hostile_pickles import CASES, COMMAND, F4, array, call, dict_of, named, raw, storage, tensor, whole

from semples_cli.data.cams.npy_file import read_npy_dict
from semples_cli.data.cams.pickle_scan import DEEPEST_TUPLE
from semples_cli.data.cams.restricted_pickle import DAMAGE, unpickle_plain
from semples_cli.data.labels.cls_labels_npy import read_cls_labels
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

REFUSED = {name: case for name, case in CASES.items() if case.said is not None}


def test_there_are_many():
    assert len(REFUSED) >= 200


@pytest.mark.parametrize("name", REFUSED)
def test_each_is_refused_for_what_it_is(name):
    with pytest.raises(DAMAGE, match=REFUSED[name].said):
        unpickle_plain(REFUSED[name].data)


@pytest.mark.parametrize("name", CASES.keys() - REFUSED.keys())
def test_what_only_looks_odd_is_read_as_plain(name):
    assert isinstance(unpickle_plain(CASES[name].data), dict | bytes)


@pytest.mark.parametrize("read", [read_npy_dict, lambda path: read_cls_labels(path, ClassSet(("cat",)))])
def test_as_files_they_are_one_line_that_names_the_file(tmp_path, read):
    for number, case in enumerate(REFUSED.values()):
        path = save_pickled(tmp_path / f"{number}.npy", case.data)
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


AUDITED = """
import pickle, warnings
warnings.simplefilter("ignore")
from hostile_pickles import CASES
from foreign_files import as_object
from semples_cli.data.cams.restricted_pickle import DAMAGE, unpickle_plain
import numpy as np

for protocol in range(6):  # what is imported at first use, such as codecs, is imported now
    unpickle_plain(pickle.dumps(as_object({"é": np.arange(3)}), protocol))
outcomes = {}
with watched():
    for name, case in CASES.items():
        try:
            unpickle_plain(case.data)
        except DAMAGE as error:
            outcomes[name] = type(error).__name__
finish(refused=len(outcomes), modules=sorted({"torch", "subprocess", "ctypes"} & sys.modules.keys()))
"""


def test_nothing_runs_is_imported_or_written(tmp_path):
    told = run_audited(AUDITED, tmp_path)
    assert told["seen"] == []
    assert told["refused"] == len(REFUSED)
    assert "torch" not in told["modules"]  # its readers of pickles are not within reach either
    assert list(tmp_path.iterdir()) == []


CONTROL = """
import pickle
from hostile_pickles import CASES
with watched():
    for name in ("posix.system by GLOBAL", "os.system by STACK_GLOBAL", "INST", "builtins.exec by GLOBAL"):
        try:
            pickle.loads(CASES[name].data)
        except SyntaxError:
            pass
finish()
"""


def test_python_s_own_unpickler_runs_them_and_is_seen(tmp_path):
    told = run_audited(CONTROL, tmp_path)
    events = [each.split()[0] for each in told["seen"]]
    assert events.count("os.system") == 3
    assert {"compile", "pickle.find_class"} <= set(events)
    assert (tmp_path / "ran").read_text() == "ran\nran\nran\n"[: len("ran\n")]  # each writes it anew


def test_an_object_of_the_registry_is_not_taken_though_it_is_in_its_cache(tmp_path):
    """Python looks there before it asks for a name, so a registered function would be called."""
    import copyreg

    def ran(*_):
        (tmp_path / "ran").touch()

    copyreg.add_extension("somewhere", "ran", 0x71)
    try:
        copyreg._extension_cache[0x71] = ran
        with pytest.raises(pickle.UnpicklingError, match="an object by its number"):
            unpickle_plain(whole(call(b"\x82\x71", COMMAND)))
    finally:
        copyreg.remove_extension("somewhere", "ran", 0x71)
    assert not (tmp_path / "ran").exists()


GOOD = {
    "keys": np.array([3, 5]),
    "cam": torch.arange(6.0).reshape(2, 3),
    np.int64(7): np.float32(0.5),
    "text": ["é", b"\xff", None, True, 1.5, 2**63],
    "pair": (1, 2),
    "high_res": np.asfortranarray(np.ones((2, 3), ">f4")),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_cut_at_each_opcode_it_is_damage(protocol):
    pickled = pickle.dumps(as_object(GOOD), protocol)
    assert len(unpickle_plain(pickled)) == len(GOOD)
    places = [place for _, _, place in pickletools.genops(pickled)]
    assert len(places) > 100
    for place in places:
        with pytest.raises(DAMAGE):
            unpickle_plain(pickled[:place])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_each_opcode_in_place_of_each_other_is_damage_or_plain(protocol):
    """Opcodes that take no argument, so that what follows stays where it is."""
    pickled = pickle.dumps(as_object(GOOD), protocol)
    codes = [each.code.encode("latin1") for each in pickletools.opcodes if each.arg is None]
    places = [place for opcode, _, place in pickletools.genops(pickled) if opcode.arg is None]
    outcomes = {"read": 0, "refused": 0}
    for number, place in enumerate(places):
        code = codes[number % len(codes)]
        try:
            unpickle_plain(pickled[:place] + code + pickled[place + 1 :])
            outcomes["read"] += 1
        except DAMAGE:
            outcomes["refused"] += 1
    assert outcomes["refused"] > outcomes["read"]


@pytest.mark.parametrize("depth", [1, 3, DEEPEST_TUPLE])
def test_tuples_as_deep_as_keys_may_have_them_do_no_harm(depth):
    key = b")" + b"\x85" * depth
    if depth < 3:
        assert unpickle_plain(whole(b"}" + key + b"K\x01s")) == {((),): 1}
    else:
        with pytest.raises(pickle.UnpicklingError, match="containers in containers"):
            unpickle_plain(whole(b"}" + key + b"K\x01s"))


def test_one_text_is_encoded_once_however_often_it_is_asked_for():
    encode = named("_codecs", "encode") + b"q\x00"
    once = b"h\x00h\x01\x86" + text_pair()
    asked = whole(encode + b"0" + text_value() + b"q\x01" + b"0](" + once * 50 + b"e")
    found = unpickle_plain(asked)
    assert len(found) == 50
    assert all(each is found[0] for each in found)


def text_value():
    return b"X\x03\x00\x00\x00abc"


def text_pair():
    """Pops the pair that stands there, and calls the encoder on the text of the memo."""
    return b"0h\x00h\x01X\x06\x00\x00\x00latin1\x86R"


def test_things_that_are_shared_within_reason_are_read():
    """200 images with the very same list of 20 numbers; cls_labels.npy of some projects is like that."""
    flags = [0] * 20
    content = {f"2007_{k:06d}": flags for k in range(200)}
    assert unpickle_plain(pickle.dumps(content)) == content
    maps = np.zeros((20, 64, 64), np.float32)
    found = unpickle_plain(pickle.dumps(as_object({"keys": np.arange(20), "cam": maps, "high_res": maps})))
    assert found["cam"].nbytes == maps.nbytes


def test_shapes_that_numpy_would_make_fit_are_refused():
    for shape in (b"J\xff\xff\xff\xff\x85", b"\x88\x85", b"G" + b"\0" * 8 + b"\x85"):  # -1, True, 0.0
        with pytest.raises(pickle.UnpicklingError, match="an array of shape"):
            unpickle_plain(whole(array(shape, F4, raw(b"abcd"))))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "made",
    [
        torch.arange(6.0),
        torch.arange(6.0).double(),
        torch.arange(6.0).half(),
        torch.arange(6.0).bfloat16(),
        torch.arange(12).reshape(3, 4).T,
        torch.arange(24.0).reshape(2, 3, 4)[:, 1:, ::2],
        torch.tensor(2.5),
        torch.zeros(0, 4),
        torch.zeros(3, 0),
        torch.ones(1).expand(1),
        torch.tensor([True, False]),
        torch.arange(4, dtype=torch.int8),
        torch.arange(4, dtype=torch.uint8),
        torch.arange(4, dtype=torch.int16),
        torch.arange(4, dtype=torch.int32),
    ],
    ids=lambda made: f"{made.dtype}-{tuple(made.shape)}-{made.stride()}",
)
def test_tensors_are_read_without_torch_as_torch_reads_them(protocol, made):
    found = unpickle_plain(pickle.dumps({"cam": made}, protocol))["cam"]
    wanted = (made.float() if made.is_floating_point() else made).numpy()
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_a_storage_by_hand():
    """The corpus' own storages are good but for the part that is put in place of another."""
    numbers = np.array([1, 2, 3, 4], "<f4")
    found = unpickle_plain(whole(dict_of(tensor(storage(content=numbers.tobytes())))))
    np.testing.assert_array_equal(found["keys"], numbers)
    assert re.search("leads out", CASES["a tensor behind its numbers"].said)
