"""Pickles of plain arrays are read whatever numpy wrote them; nothing in a pickle is ever called."""

import builtins
import collections
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from foreign_files import as_object, call, of_numpy_1
from hypothesis import given, settings
from hypothesis import strategies as st

from semples_cli.data.cams.pickle_scan import ForbiddenGlobal
from semples_cli.data.cams.restricted_pickle import DAMAGE, unpickle_plain

RNG = np.random.default_rng(0)
CONTENT = {
    "keys": np.array([3, 5]),
    "big": RNG.random((2, 3, 4)).astype(">f4"),
    "half": RNG.random((2, 3, 4)).astype(np.float16),
    "fortran": np.asfortranarray(RNG.random((3, 4))),
    "strided": RNG.random((3, 8)).astype(np.float32)[:, ::2],
    "bool": np.array([True, False]),
    np.int64(7): RNG.random((2, 2)),
    8: np.float32(0.25),
}


def check_equal(found):
    assert list(found) == list(CONTENT)
    for key, value in CONTENT.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_come_back_as_they_were(protocol):
    check_equal(unpickle_plain(pickle.dumps(as_object(CONTENT), protocol)))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_names_of_numpy_1_are_known(protocol):
    check_equal(unpickle_plain(of_numpy_1(pickle.dumps(as_object(CONTENT), protocol))))


def test_names_of_numpy_1_are_known_in_protocol_5_too():
    """Its names are counted: `numpy._core.` becomes a name of the same length."""
    pickled = pickle.dumps(as_object({"a": np.arange(3.0)}), 5)
    for module in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        old = module.replace(b"._core", b".core")
        pickled = pickled.replace(b"\x8c" + bytes([len(module)]) + module, b"\x8c" + bytes([len(old)]) + old)
    # The frame is one byte shorter for each of the names.
    size = int.from_bytes(pickled[3:11], "little") - 2
    found = unpickle_plain(pickled[:3] + size.to_bytes(8, "little") + pickled[11:])
    np.testing.assert_array_equal(found["a"], [0.0, 1.0, 2.0])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_without_a_number_keep_their_shape(protocol):
    found = unpickle_plain(pickle.dumps(as_object({"high_res": np.zeros((0, 4, 5), np.float32)}), protocol))
    assert found["high_res"].shape == (0, 4, 5)
    assert found["high_res"].dtype == np.float32


def test_a_plain_dict_needs_no_array_around_it():
    assert unpickle_plain(pickle.dumps({"keys": [1, 2]})) == {"keys": [1, 2]}


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("exit 1",), "(posix|nt).system"),
        (subprocess.run, (["true"],), "subprocess.run"),
        (builtins.eval, ("1",), "builtins.eval"),
        (builtins.getattr, ("a", "b"), "builtins.getattr"),
        (np.load, ("x.npy",), "numpy.load"),
        (np.zeros, ((2,),), "numpy.*zeros"),
        (collections.Counter, (), "collections.Counter"),
    ],
)
def test_every_other_name_is_forbidden_and_said(function, arguments, name):
    with pytest.raises(ForbiddenGlobal, match=f"^{name}$"):
        unpickle_plain(call(function, *arguments))


def test_a_hostile_pickle_is_not_run(tmp_path):
    """np.load runs it; here it leaves no trace."""
    trace = tmp_path / "trace"
    pickled = call(os.system, f'"{sys.executable}" -c "open({str(trace)!r}, {"w"!r})"')
    pickle.loads(pickled)
    assert trace.exists()  # it does what it is made for
    trace.unlink()
    with pytest.raises(ForbiddenGlobal):
        unpickle_plain(pickled)
    assert not trace.exists()


def test_the_call_comes_after_good_arrays_and_is_refused_all_the_same(tmp_path):
    class Late:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(ForbiddenGlobal, match="mkdir"):
        unpickle_plain(pickle.dumps(as_object({"keys": np.arange(3), "late": Late()})))
    assert list(tmp_path.iterdir()) == []


def opcodes(body):
    return b"\x80\x02" + body + b"."


NDARRAY = b"cnumpy\nndarray\n"
DTYPE = b"cnumpy\ndtype\n"
F4 = DTYPE + b"(X\x02\x00\x00\x00f4tR"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
ARRAY = RECONSTRUCT + b"(" + NDARRAY + b"K\x00\x85U\x01btR"


@pytest.mark.parametrize(
    "pickled",
    [
        opcodes(NDARRAY + b"(K\x02tR"),  # numpy.ndarray called
        opcodes(NDARRAY + b")\x81"),
        opcodes(NDARRAY),
        opcodes(F4),
        opcodes(NDARRAY + b"}(U\x01aK\x01ub"),  # a state for the class itself
        opcodes(F4 + b"(K\x03U\x01<(U\x01atNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"),  # fields
        opcodes(F4 + b"(K\x03U\x01?NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"),  # no order of bytes
        opcodes(DTYPE + b"(X\x03\x00\x00\x00V16tR"),
        opcodes(DTYPE + b"(X\x02\x00\x00\x00M8tR"),
        opcodes(DTYPE + b"(K\x01tR"),
        opcodes(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00bz2tR"),
        opcodes(b"cnumpy.core.multiarray\nscalar\n(" + DTYPE + b"(X\x02\x00\x00\x00O8tRU\x08aaaaaaaatR"),
        opcodes(b"cnumpy.core.numeric\n_frombuffer\n(U\x04aaaa" + F4 + b"K\x02\x85U\x01CtR"),  # bytes too few
        opcodes(ARRAY + b"(K\x01K\x02\x85" + F4 + b"I00\nU\x04aaaatb"),  # bytes too few
        opcodes(ARRAY + b"(K\x01K\x01\x85" + F4 + b"I00\ntb"),  # no bytes at all
        b"\x80\x02" + b"U\xffabc",
        b"\x80\x63N.",
        b"",
    ],
)
def test_damage_and_tricks_are_refused(pickled):
    with pytest.raises(DAMAGE):
        unpickle_plain(pickled)


def test_an_array_that_holds_itself_has_an_end():
    kind = DTYPE + b"(X\x02\x00\x00\x00O8tR"
    itself = opcodes(ARRAY + b"q\x00(K\x01)" + kind + b"I00\n]h\x00atb")
    with pytest.raises(pickle.UnpicklingError, match="containers in containers"):
        unpickle_plain(itself)


def test_arrays_of_several_objects_are_refused():
    with pytest.raises(pickle.UnpicklingError, match="array of objects of shape"):
        unpickle_plain(pickle.dumps(np.array([{}, {}], object)))


GOOD = pickle.dumps(as_object(CONTENT), 4)


@given(st.integers(0, len(GOOD) - 1))
@settings(max_examples=60, deadline=None)
def test_a_truncated_pickle_is_damage(length):
    with pytest.raises(DAMAGE):
        unpickle_plain(GOOD[:length])


PLAIN = (np.ndarray, np.generic, str, bytes, int, float, type(None))


def leaves(value):
    """What plain containers hold, at any depth; a container of another kind is a leaf."""
    if isinstance(value, dict):
        yield from (leaf for pair in value.items() for part in pair for leaf in leaves(part))
    elif isinstance(value, list | tuple):
        yield from (leaf for part in value for leaf in leaves(part))
    else:
        yield value


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_is_damage_or_other_numbers_and_nothing_else(place, value):
    changed = bytearray(GOOD)
    changed[place] = value
    try:
        found = unpickle_plain(bytes(changed))
    except DAMAGE:
        return
    assert all(isinstance(each, PLAIN) for each in leaves(found))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "place 2147483647 in a memo"),
        (b"\x80\x02Np999999999999\n.", "place 999999999999 in a memo"),
    ],
)
def test_memory_that_no_pickle_of_its_size_needs_is_refused_before_it_is_taken(data, said):
    with pytest.raises(pickle.UnpicklingError, match=said):
        unpickle_plain(data)


def test_a_length_that_the_pickle_has_not_got_is_damage():
    for opcode in (b"\x8e", b"\x8d", b"\x96"):  # BINBYTES8, BINUNICODE8, BYTEARRAY8
        with pytest.raises(DAMAGE):
            unpickle_plain(b"\x80\x05" + opcode + (2**40).to_bytes(8, "little") + b"x.")
