"""Pickles that mean harm, by name: what they try, and what the refusal says."""

import pickle
import re
import struct
from dataclasses import dataclass

import numpy as np
from foreign_files import as_object


@dataclass(frozen=True)
class Hostile:
    """A pickle.

    Attributes:
        data: Its bytes.
        said: What the refusal names: a regular expression. None: it holds nothing but plain things, and is read.
    """

    data: bytes
    said: str | None


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def named(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


def stacked(module: str, name: str) -> bytes:
    """STACK_GLOBAL, by which protocol 4 walks through the dots of a name."""
    return text(module) + text(name) + b"\x93"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def whole(body: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def dict_of(value: bytes) -> bytes:
    """{'keys': value}, as a CAM would have it."""
    return b"}" + text("keys") + value + b"s"


ANY = r"\A"  # whatever Python or numpy say
COMMAND = text("echo ran > ran")
NDARRAY, OBJECT = named("numpy", "ndarray"), named("numpy", "dtype")
F4 = call(OBJECT, text("f4"), b"\x89", b"\x88")
O8 = call(OBJECT, text("O8"), b"\x89", b"\x88")
RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct")
EMPTY = call(RECONSTRUCT, NDARRAY, b"K\x00\x85", raw(b"b"))
SCALAR = named("numpy.core.multiarray", "scalar")
BUFFER = named("numpy.core.numeric", "_frombuffer")
TENSOR = named("torch._utils", "_rebuild_tensor_v2")
STORAGE = named("torch.storage", "_load_from_bytes")
HOOKS = named("collections", "OrderedDict") + b")R"


def array(shape: bytes, kind: bytes, content: bytes, order: bytes = b"\x89") -> bytes:
    """An array by its state, as numpy writes it."""
    return EMPTY + b"(K\x01" + shape + kind + order + content + b"tb"


def storage(kind: str = "FloatStorage", count: int = 4, content: bytes = b"\0" * 16, **odd: bytes) -> bytes:
    """What `torch.save` writes of a storage in its older form; `odd` puts a part in place of another."""
    identity = b"(" + text("storage") + named("torch", kind) + text("1") + text("cpu") + number(count) + b"Nt"
    parts = {
        "magic": whole(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"),
        "version": whole(b"M\xe9\x03"),
        "machine": whole(b"}"),
        "identity": whole(identity + b"Q"),
        "keys": whole(b"]" + text("1") + b"a"),
        "count": struct.pack("<q", count),
        "content": content,
    }
    return b"".join({**parts, **odd}.values())


def tensor(content: bytes, offset: int = 0, shape: bytes = b"K\x04\x85", strides: bytes = b"K\x01\x85") -> bytes:
    return call(TENSOR, call(STORAGE, raw(content)), number(offset), shape, strides, b"\x89", HOOKS)


def _calls() -> dict[str, Hostile]:
    """Functions by name, through every opcode that can name or call one."""
    cases = {}
    for module, name in (
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("os", "popen"),
        ("os", "execv"),
        ("subprocess", "Popen"),
        ("subprocess", "check_output"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("builtins", "open"),
        ("builtins", "compile"),
        ("__builtin__", "eval"),  # Python 2's name, which Python's own unpickler translates
        ("importlib", "import_module"),
        ("runpy", "run_path"),
        ("code", "InteractiveInterpreter"),
        ("pty", "spawn"),
        ("shutil", "rmtree"),
        ("socket", "create_connection"),
        ("webbrowser", "open"),
        ("ctypes", "CDLL"),
        ("operator", "attrgetter"),
        ("functools", "partial"),
        ("types", "CodeType"),
        ("pickle", "loads"),
        ("_pickle", "loads"),
        ("marshal", "loads"),
        ("copyreg", "add_extension"),
        ("copyreg", "_reconstructor"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "memmap"),
        ("numpy", "frombuffer"),
        ("numpy.core.multiarray", "fromstring"),
        ("numpy.core._internal", "_reconstruct"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.f2py.crackfortran", "getlincoef"),
        ("torch", "load"),
        ("torch.jit", "load"),
        ("torch.hub", "load"),
        ("torch.serialization", "load"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch._utils", "_rebuild_tensor"),
        ("torch.storage", "UntypedStorage"),
        ("torch.utils._config_module", "ConfigModule.load_config"),
        ("collections", "Counter"),
        ("_codecs", "decode"),
        ("_codecs", "lookup"),
        ("codecs", "encode"),
        ("semples_cli.data.cams.restricted_pickle", "unpickle_plain"),
        ("__main__", "anything"),
    ):
        said = rf"^{re.escape(f'{module}.{name}')}$"
        cases[f"{module}.{name} by GLOBAL"] = Hostile(whole(dict_of(call(named(module, name), COMMAND))), said)
    for name in ("system", "popen", "path.os.system"):
        cases[f"os.{name} by STACK_GLOBAL"] = Hostile(whole(call(stacked("os", name), COMMAND), 4), rf"^os\.{name}$")
    system = named("posix", "system")
    cases |= {
        "INST": Hostile(whole(b"(" + COMMAND + b"iposix\nsystem\n"), r"^posix\.system$"),
        "OBJ": Hostile(whole(b"(" + system + COMMAND + b"o"), r"^posix\.system$"),
        "NEWOBJ": Hostile(whole(named("subprocess", "Popen") + b"(" + COMMAND + b"t\x81"), r"^subprocess\.Popen$"),
        "NEWOBJ_EX": Hostile(whole(stacked("subprocess", "Popen") + b"(" + COMMAND + b"t}\x92", 4), "subprocess"),
        "text protocol": Hostile(b"cposix\nsystem\n(S'echo ran > ran'\ntR.", r"^posix\.system$"),
        "memoised": Hostile(whole(system + b"q\x05" + b"0" + b"h\x05(" + COMMAND + b"tR"), r"^posix\.system$"),
        "after the first STOP": Hostile(whole(b"}") + whole(call(system, COMMAND)), None),
        "a second pickle of arrays alone": Hostile(whole(dict_of(array(b"K\x01\x85", F4, raw(b"abcd")))), None),
    }
    return cases


def _dotted() -> dict[str, Hostile]:
    """Allowed names, and a way on from there."""
    ways = {
        ("numpy", "ndarray.__class__"),
        ("numpy", "ndarray.__reduce__"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "ndarray.__class__.__base__.__subclasses__"),
        ("numpy", "dtype.__class__.mro"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy.core.multiarray", "scalar.__self__"),
        ("_codecs", "encode.__self__"),
        ("collections", "OrderedDict.__class__"),
        ("collections", "OrderedDict.fromkeys"),
        ("torch.storage", "_load_from_bytes.__globals__"),
        ("torch._utils", "_rebuild_tensor_v2.__code__"),
        ("numpy\x00", "ndarray"),
        ("numpy ", "ndarray"),
        ("NUMPY", "ndarray"),
        ("numpy", "\uff4edarray"),  # a wide n
    }
    return {
        f"{module}.{name}".replace("\0", "NUL"): Hostile(whole(call(stacked(module, name), COMMAND), 4), "ndarray|\\.")
        for module, name in sorted(ways)
    }


def _registry() -> dict[str, Hostile]:
    numbers = {"EXT1": b"\x82\x01", "EXT2": b"\x83\x01\x00", "EXT4": b"\x84\x01\x00\x00\x00"}
    cases = {name: Hostile(whole(call(opcode, COMMAND)), "an object by its number") for name, opcode in numbers.items()}
    return cases | {
        "PERSID": Hostile(b"Pposix.system\n.", "persistent"),
        "BINPERSID": Hostile(whole(text("posix.system") + b"Q"), "persistent"),
        "NEXT_BUFFER": Hostile(whole(b"\x97", 5), "buffer"),
        "READONLY_BUFFER": Hostile(whole(raw(b"a") + b"\x98", 5), None),  # of bytes that cannot be changed anyway
    }


def _gadgets() -> dict[str, Hostile]:
    """Allowed names, used otherwise than numpy and torch use them."""
    system = named("posix", "system")
    fields = b"(K\x03" + text("<") + b"N(" + text("a") + b"t}" + text("a") + b"(" + O8 + b"K\x00ts" + b"K\x08K\x08K?tb"
    return {
        "a class as a value": Hostile(whole(dict_of(NDARRAY)), "no array of numbers"),
        "the encoder as a value": Hostile(whole(dict_of(named("_codecs", "encode"))), "no array of numbers"),
        "hooks as a value": Hostile(whole(dict_of(HOOKS)), "no array of numbers"),
        "a type as a value": Hostile(whole(dict_of(F4)), "no array of numbers"),
        "a storage as a value": Hostile(whole(dict_of(call(STORAGE, raw(storage())))), "no array of numbers"),
        "a class with a state": Hostile(whole(NDARRAY + b"}" + text("__call__") + system + b"sb"), "posix"),
        "a class with a plain state": Hostile(whole(NDARRAY + b"}b"), "positional argument|state"),
        "a class with slots": Hostile(whole(NDARRAY + b"N}" + text("x") + b"K\x01s\x86b"), "positional|state"),
        "an array without a state": Hostile(whole(dict_of(EMPTY)), "no array of numbers"),
        "an array built without __init__": Hostile(whole(dict_of(RECONSTRUCT + b")\x81")), ANY),
        "a type built without __init__": Hostile(whole(array(b")", OBJECT + b")\x81", raw(b""))), ANY),
        "a type with a class for its letter": Hostile(whole(call(OBJECT, NDARRAY)), "array of type"),
        "a type with fields of objects": Hostile(whole(F4 + fields), "an array with fields"),
        "a type of pointers": Hostile(whole(call(OBJECT, text("P"))), "array of type 'P'"),
        "a type of text": Hostile(whole(call(OBJECT, text("U4"))), "array of type 'U4'"),
        "a type of raw bytes": Hostile(whole(call(OBJECT, text("V8"))), "array of type 'V8'"),
        "a type of many fields": Hostile(whole(call(OBJECT, text("f4,O"))), "array of type"),
        "a type of 2**31 bytes": Hostile(whole(call(OBJECT, text("S2147483647"))), "array of type"),
        "a scalar that is an object": Hostile(whole(call(SCALAR, O8, raw(b"A" * 8))), "objects as bytes"),
        "a scalar that is an object, a call": Hostile(whole(call(SCALAR, O8, call(system, COMMAND))), "posix"),
        "a scalar of no bytes": Hostile(whole(call(SCALAR, F4, raw(b""))), "reshape|size|buffer"),
        "a scalar of a class": Hostile(whole(call(SCALAR, NDARRAY, raw(b"abcd"))), "whose type is none"),
        "objects from a buffer": Hostile(whole(call(BUFFER, raw(b"A" * 8), O8, b"K\x01\x85", text("C"))), "objects"),
        "a buffer of a class": Hostile(whole(call(BUFFER, NDARRAY, F4, b"K\x01\x85", text("C"))), "bytes|buffer"),
        "an array of objects as bytes": Hostile(whole(array(b")", O8, raw(b"A" * 8))), "array of objects"),
        "an array of objects with a call": Hostile(
            whole(array(b")", O8, b"]" + call(system, COMMAND) + b"a")), "posix"
        ),
        "an array of two objects": Hostile(whole(array(b"K\x02\x85", O8, b"](NNe")), "array of objects of shape"),
        "the class of types for a type": Hostile(whole(array(b")", OBJECT, b"]Na")), "whose type is none"),
        "more numbers than bytes": Hostile(whole(array(b"K\x09\x85", F4, raw(b"abcd"))), "reshape|size"),
        "2**62 numbers": Hostile(
            whole(array(b"\x8a\x08" + (2**62).to_bytes(8, "little") + b"\x85", F4, raw(b"abcd"))), ANY
        ),
        "a number of axes": Hostile(whole(array(b"(" + b"K\x01" * 80 + b"t", F4, raw(b"abcd"))), "dimension|size|ndim"),
        "a negative shape": Hostile(whole(array(number(-7) + b"\x85", F4, raw(b"abcd"))), "of shape"),
        "a shape of text": Hostile(whole(array(text("9"), F4, raw(b"abcd"))), "of shape"),
        "a state of three": Hostile(whole(EMPTY + b"(K\x01)" + F4 + b"tb"), "unpack"),
        "bytes in another code": Hostile(
            whole(call(named("_codecs", "encode"), text("a"), text("zip"))), "bytes as text"
        ),
        "bytes of bytes": Hostile(whole(call(named("_codecs", "encode"), raw(b"a"), text("latin1"))), "encode"),
        "hooks with content": Hostile(whole(named("collections", "OrderedDict") + b"]\x85R"), "argument"),
        "SETITEM on an array": Hostile(
            whole(array(b"K\x01\x85", F4, raw(b"abcd")) + b"K\x00K\x01s"), "item assignment"
        ),
        "APPEND on a type": Hostile(whole(F4 + b"K\x01a"), "append"),
        "attributes of an int": Hostile(whole(b"K\x01}" + text("real") + b"K\x02sb"), "__dict__|attribute"),
    }


def _tensors() -> dict[str, Hostile]:
    system = whole(call(named("posix", "system"), COMMAND))
    zipped = b"PK\x03\x04" + b"\0" * 26
    big = b"\x8a\x08" + (2**62).to_bytes(8, "little") + b"\x85"
    cases = {
        "whose magic is a call": (tensor(storage(magic=system)), r"posix\.system"),
        "whose version is a call": (tensor(storage(version=system)), r"posix\.system"),
        "whose machine is a call": (tensor(storage(machine=system)), r"posix\.system"),
        "whose identity is a call": (tensor(storage(identity=system)), r"posix\.system"),
        "whose keys are a call": (tensor(storage(keys=system)), r"posix\.system"),
        "that is a plain pickle": (tensor(system), r"posix\.system"),
        "that is a zip": (tensor(zipped), "cannot be read|of another form"),
        "that is a tar": (tensor(b"data.pkl".ljust(512, b"\0")), "cannot be read"),
        "that is empty": (tensor(b""), "cannot be read"),
        "of pickles alone": (tensor(storage()[:-24]), "number of numbers"),
        "of quantised numbers": (tensor(storage("QInt8Storage")), r"torch\.QInt8Storage"),
        "of untyped bytes": (tensor(storage("UntypedStorage")), r"torch\.UntypedStorage"),
        "whose type is a dotted name": (tensor(storage("serialization.load")), r"torch\.serialization\.load"),
        "that says more numbers": (tensor(storage(count=2**31 - 1)), "cannot be read"),
        "that says fewer than none": (tensor(storage(count=-1)), "another form"),
        "miscounted": (
            tensor(storage(count=4).replace(struct.pack("<q", 4), struct.pack("<q", 5))),
            "number of numbers",
        ),
        "that is no storage": (tensor(storage(identity=whole(b"]"))), "cannot be read"),
        "that is a registered object": (tensor(storage(keys=whole(b"\x82\x01"))), "by its number"),
        "with a bomb in its memo": (tensor(storage(keys=b"\x80\x02Nr\xff\xff\xff\x7f.")), "place 2147483647"),
        "with tuples in tuples": (tensor(storage(keys=whole(b"})" + b"\x85" * 200 + b"K\x01s"))), "tuples in tuples"),
        "with a view on another": (
            tensor(
                storage(
                    identity=whole(
                        b"(" + text("storage") + named("torch", "FloatStorage") + text("1") + text("cpu") + b"K\x04)tQ"
                    )
                )
            ),
            "another form",
        ),
        "larger than its numbers": (tensor(storage(), shape=b"K\x63\x85", strides=b"K\x00\x85"), "larger than"),
        "beyond its numbers": (tensor(storage(), shape=b"K\x02\x85", strides=b"K\x04\x85"), "leads out"),
        "behind its numbers": (tensor(storage(), offset=1), "leads out"),
        "before its numbers": (tensor(storage(), offset=-1), "shape"),
        "backwards": (tensor(storage(), strides=number(-1) + b"\x85"), "shape"),
        "of 2**62 numbers": (tensor(storage(), shape=big), "larger than"),
        "of strides of 2**62": (tensor(storage(), shape=b"K\x02\x85", strides=big), "leads out"),
        "of no strides": (tensor(storage(), strides=b")"), "leads out|match|cannot"),
        "of text": (tensor(storage(), shape=text("4")), "shape"),
        "of None": (tensor(storage(), shape=b"N"), ANY),
        "of an array": (call(TENSOR, array(b"K\x01\x85", F4, raw(b"abcd")), b"K\x00)))"), "numbers"),
    }
    return {f"a tensor {name}": Hostile(whole(dict_of(data)), said) for name, (data, said) in cases.items()}


def _of_one_hash(count: int) -> bytes:
    """Numbers and None: Python's hash of a number is its remainder, by which all of these are 0."""
    numbers = [(k * (2**61 - 1)).to_bytes(12, "little") for k in range(count)]
    return b"".join(b"\x8a\x0c" + each + b"N" for each in numbers)


def _bombs() -> dict[str, Hostile]:
    """Small files that would take the memory, the time or the stack of who reads them."""
    many = 3000
    laughs = b"](" + b"N" * many + b"eq\x000](" + b"h\x00" * many + b"eq\x010](" + b"h\x01" * many + b"e"
    numbers = array(b"M\x00\x80\x85", F4, raw(b"\0" * 2**17)) + b"q\x090}" + b"(" + b"".join(
        number(k) + b"h\x09" for k in range(500)
    ) + b"u"  # fmt: skip
    deep = b")" + b"\x85" * 100_000
    mixed = b")" + b"\x85Nb" * 5000  # a state of None changes nothing
    fetched = b")" + b"\x85q\x000h\x00" * 5000
    return {
        "a list of a list of a list": Hostile(whole(laughs), "far more than its own size"),
        "one array under many keys": Hostile(whole(numbers), "far more than its own size"),
        "a list in itself": Hostile(whole(b"]q\x00h\x00a"), "containers in containers"),
        "a dict in itself": Hostile(whole(b"}q\x00K\x01h\x00s"), "containers in containers"),
        "a tuple in itself": Hostile(whole(b"]q\x00h\x00\x85a"), "containers in containers"),
        "an array in itself": Hostile(whole(EMPTY + b"q\x00(K\x01)" + O8 + b"\x89]h\x00atb"), "containers in"),
        "lists in lists": Hostile(whole(b"]" * 100_000 + b"a" * 99_999), "containers in containers"),
        "a key that is tuples in tuples": Hostile(whole(b"}" + deep + b"K\x01s"), "tuples in tuples"),
        "a key that is tuples with states": Hostile(whole(b"}" + mixed + b"K\x01s"), "tuples in tuples"),
        "a key that is tuples from the memo": Hostile(whole(b"}" + fetched + b"K\x01s"), "tuples in tuples"),
        "an element of a set of tuples": Hostile(whole(b"\x8f(" + deep + b"\x90", 4), "tuples in tuples"),
        "a far place in the memo": Hostile(whole(b"Nr\xff\xff\xff\x7f"), "place 2147483647 in a memo"),
        "a far place in the memo, as text": Hostile(b"Np999999999999999\n.", "in a memo"),
        "a negative place in the memo": Hostile(b"Np-1\n.", "memo|negative"),
        "an empty place in the memo": Hostile(whole(b"h\x07"), "7|memo"),
        "2**63 bytes": Hostile(b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"a.", "exceeds|remain|bytes"),
        "2**63 letters": Hostile(b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f" + b"a.", "exceeds|remain|bytes"),
        "2**64 bytes that can change": Hostile(b"\x80\x05\x96" + b"\xff" * 8 + b"a.", "count|exceeds"),
        "2**32 bytes": Hostile(b"\x80\x03B\xff\xff\xff\xffa.", "expected|remain|bytes"),
        "a frame of 2**64": Hostile(b"\x80\x04\x95" + b"\xff" * 8 + b"N.", "FRAME|frame|exhausted"),
        "keys of one hash": Hostile(whole(b"}(" + _of_one_hash(2000) + b"u"), r"a number of \d+ bits"),
        "keys of one hash, as text": Hostile(
            b"}" + b"".join(b"L%dL\nNs" % (k * (2**61 - 1)) for k in range(99)) + b".", "bits"
        ),
        "a number of 2**31 bytes": Hostile(b"\x80\x02\x8b\xff\xff\xff\x7fa.", "long4|expected"),
        "a number of fewer than no bytes": Hostile(b"\x80\x02\x8b\xff\xff\xff\xffa.", "negative|long4"),
        "a number of 100,000 digits": Hostile(b"L" + b"9" * 100_000 + b"L\n.", "digits"),
        "an int of 100,000 digits": Hostile(b"I" + b"9" * 100_000 + b"\n.", "digits"),
    }


def _damage() -> dict[str, Hostile]:
    odd = {
        "nothing": b"",
        "STOP alone": b".",
        "two marks": b"((.",
        "a mark as the result": b"(.",
        "a call of nothing": b"R.",
        "a call of a number": whole(b"K\x01)R"),
        "a call with a list": whole(NDARRAY + b"]R"),
        "a pop of nothing": b"0.",
        "a pair of nothing": b"s.",
        "odd pairs": whole(b"}(Nu"),
        "a list as a key": whole(b"}]Ns"),
        "a list in a set": whole(b"\x8f(]\x90", 4),
        "an opcode that is none": b"\x80\x02\xff.",
        "protocol 99": b"\x80\x63N.",
        "a name without end": b"cos\nsystem",
        "a name that is a number": whole(b"K\x01K\x01\x93", 4),
        "a name of letters that are none": b"\x80\x02c\xff\xfe\nsystem\n.",
        "text of letters that are none": whole(b"X\x02\x00\x00\x00\xff\xfe"),
        "text that is not escaped well": b"V\\ud800\\U99999999\n.",
        "a quoted text without end": b"S'abc\n.",
        "a number in words": b"Ione\n.",
        "a float in words": b"Fone\n.",
        "a set": whole(b"\x8f", 4),
        "a frozen set": whole(b"(\x91", 4),
        "a complex number": pickle.dumps({"keys": 1j}, 2),
        "a class of ours": pickle.dumps({"keys": np.random.default_rng}, 2),
        "dates": pickle.dumps(as_object({"keys": np.array(["2020-01-01"], "M8[D]")}), 2),
        "names": pickle.dumps(as_object({"keys": np.array(["a", "b"])}), 2),
        "records": pickle.dumps(as_object({"keys": np.zeros(2, "i4,f4")}), 2),
        "complex numbers": pickle.dumps(as_object({"keys": np.zeros(2, complex)}), 2),
        "objects": pickle.dumps(as_object({"keys": np.array([{}, []], object)}), 2),
        "a masked array": pickle.dumps(np.ma.zeros(2), 2),
    }
    return {f"damage: {name}": Hostile(data, ANY) for name, data in odd.items()}


CASES = {**_calls(), **_dotted(), **_registry(), **_gadgets(), **_tensors(), **_bombs(), **_damage()}
