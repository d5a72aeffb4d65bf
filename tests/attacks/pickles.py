"""Attacks by pickles: what opcodes can make out of little, and what they ask to run."""

from __future__ import annotations

import os
import pickle
import struct

from .build import (  # isort: skip
    DENSE, KB, LINEAR, MB, SEQUENTIAL, SIX, WEIGHT, attack, call, memo, module, obj, storage, table, tensor,
    torch_legacy, torch_zip, zipped,
)  # fmt: skip


# -- code that is never run --------------------------------------------------------------------------

def run(canary: str) -> bytes:
    """A command that leaves a file of this name."""
    return obj(f"echo hello > {canary}")


_CALLS = {
    "os_system": call("os.system", run("os_system")),
    "posix_system": call("posix.system", run("posix_system")),
    "eval": call("builtins.eval", obj("open('eval', 'w')")),
    "eval_of_python2": call("__builtin__.eval", obj("open('eval_of_python2', 'w')")),
    "inst": b"(" + run("inst") + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + run("obj") + b"o",
    "newobj": b"csubprocess\ngetoutput\n" + run("newobj") + b"\x85\x81",
    "newobj_ex": b"csubprocess\nPopen\n" + run("newobj_ex") + b"\x85" + table(shell=b"\x88") + b"\x92",
    "stack_global": obj("os") + obj("system") + b"\x93" + run("stack_global") + b"\x85R",
    "dotted_name": obj("shutil") + obj("os.system") + b"\x93" + run("dotted_name") + b"\x85R",
    "getattr": b"(" + call("builtins.getattr", b"cshutil\nos\n", obj("system")) + run("getattr") + b"o",
    "pickle_in_a_storage": call("torch.storage._load_from_bytes", obj(pickle.dumps(print))),
    "setstate": b"c__main__\nEvil\n)\x81" + table(__setstate__=b"cos\nsystem\n") + b"b" + run("setstate") + b"b",
    "runpy": call("runpy._run_code", obj("open('runpy', 'w')"), b"}"),
    "subclass_of_tensor": b"](" + call(  # in a list: among the weights it would be one, and one too many
        "torch._tensor._rebuild_from_type_v2", b"cos\nsystem\n", b"N", run("subclass_of_tensor") + b"\x85", b"N"
    ) + b"e",
    "default_factory": call("collections.defaultdict", b"cos\nsystem\n"),
    "map": call("builtins.list", call("builtins.map", b"cos\nsystem\n", b"](" + run("map") + b"e")),
}
BESIDE = table(**{"w.weight": WEIGHT}, **_CALLS)


@attack("m.pt", arch=DENSE, exits=(0,))
def calls_beside_the_weights() -> bytes:
    """Every way to call something, beside weights that are read."""
    return torch_zip(BESIDE, {"0": SIX})


@attack("m.pt", arch=DENSE, exits=(0,))
def calls_beside_the_weights_of_a_legacy_file() -> bytes:
    """The same in the format before version 1.6."""
    return torch_legacy(BESIDE, {"0": (6, SIX)})


@attack("m.pt")
def run_in_place_of_the_weights() -> bytes:
    """All of the file is a call of os.system."""
    return torch_zip(_CALLS["os_system"])


@attack("m.pt")
def run_in_the_header_of_a_legacy_file() -> bytes:
    """The protocol number of a legacy file is a call."""
    whole = torch_legacy(table(w=WEIGHT), {"0": (6, SIX)})
    at = whole.index(pickle.dumps(1001, 2))
    return whole[:at] + b"\x80\x02" + _CALLS["os_system"] + b"." + whole[at + len(pickle.dumps(1001, 2)) :]


@attack("m.pt")
def extension_registry() -> bytes:
    """EXT opcodes look a class up in a registry of the process."""
    return torch_zip(b"\x82\x01")


@attack("m.pt")
def persistent_text() -> bytes:
    """A persistent id that is text, as PERSID gives it."""
    return torch_zip(b"Pstorage\n")


# -- much out of little ------------------------------------------------------------------------------


@attack("m.pt")
def newobj_flood() -> bytes:
    """3 bytes make an object: NEWOBJ of a class that the memo holds."""
    return torch_zip(b"ca\nB\nq\x000](" + b"h\x00)\x81" * 200_000 + b"e")


@attack("m.pt")
def reduce_flood() -> bytes:
    """The same by REDUCE."""
    return torch_zip(b"ca\nB\nq\x000](" + b"h\x00)R" * 200_000 + b"e")


@attack("m.pt")
def build_flood() -> bytes:
    """Every object is given one big dictionary of attributes as its state."""
    state = b"}(" + b"".join(obj(f"a{i}")[:-5] + b"N" for i in range(20_000)) + b"uq\x010"
    return torch_zip(b"ca\nB\nq\x000" + state + b"](" + b"h\x00)\x81h\x01b" * 20_000 + b"e")


@attack("m.pt")
def one_object_built_often() -> bytes:
    """One object is given the same state again and again: no memory, but time."""
    state = b"}(" + b"".join(obj(f"a{i}")[:-5] + b"N" for i in range(20_000)) + b"uq\x010"
    return torch_zip(state + b"ca\nB\n)\x81" + b"h\x01b" * 150_000)


@attack("m.pt")
def copies_of_a_list() -> bytes:
    """list(x) of one long list, often."""
    return torch_zip(b"](" + b"K\x01" * 60_000 + b"eq\x000(" + b"cbuiltins\nlist\nh\x00\x85R" * 5_000 + b"l")


@attack("m.pt")
def copies_of_a_dictionary() -> bytes:
    """OrderedDict(x) of one big dictionary, often."""
    big = b"}(" + b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(60_000)) + b"uq\x000"
    return torch_zip(big + b"ccollections\nOrderedDict\nq\x010(" + b"h\x01h\x00\x85R" * 30_000 + b"l")


@attack("m.pt")
def copies_of_a_text() -> bytes:
    """_codecs.encode of one long text, often: every call makes new bytes."""
    text = b"X" + struct.pack("<I", 400_000) + b"a" * 400_000 + b"q\x000"
    return torch_zip(text + b"c_codecs\nencode\nq\x010(" + b"h\x01h\x00\x85R" * 50_000 + b"l")


@attack("m.pt")
def copies_of_a_shape() -> bytes:
    """Tensors of a subclass whose shape is one list of 60,000 sizes."""
    sizes = b"](" + b"K\x01" * 60_000 + b"eq\x010"
    args = b"(" + storage("0", 6) + b"K\x00h\x01h\x01t" + b"q\x020"
    make = b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor\nNh\x02NtR"
    return torch_zip(sizes + args + b"](" + make * 10_000 + b"e", {"0": SIX})


@attack("m.pt")
def memo_flood() -> bytes:
    """MEMOIZE in every byte."""
    return torch_zip(b"]" + b"\x94" * 900_000)


@attack("m.pt")
def far_memo() -> bytes:
    """LONG_BINPUT to numbers that are far apart."""
    return torch_zip(b"]" + b"".join(b"r" + struct.pack("<I", 4000 * i + 1) for i in range(180_000)))


@attack("m.pt")
def largest_memo_number() -> bytes:
    """A memo that would be an array of 4 billion places."""
    return torch_zip(b"]r\xff\xff\xff\xff")


@attack("m.pt")
def dup_flood() -> bytes:
    """DUP in every byte."""
    return torch_zip(b"}" + b"2" * 900_000)


@attack("m.pt")
def empty_dictionaries() -> bytes:
    """An empty dictionary in every byte."""
    return torch_zip(b"](" + b"}" * 900_000 + b"e")


@attack("m.pt")
def small_dictionaries() -> bytes:
    """Dictionaries of one item, which take 232 bytes each."""
    return torch_zip(b"](" + b"}NNs" * 230_000 + b"e")


@attack("m.pt")
def opaque_keys() -> bytes:
    """Keys that cannot be hashed, or only by recursion."""
    return torch_zip(b"](" + b"}]Ns}NN\x86Ns" * 90_000 + b"e")


@attack("m.pt")
def deep_tuples() -> bytes:
    """900,000 tuples in each other."""
    return torch_zip(b")" + b"\x85" * 900_000)


@attack("m.pt")
def deep_tuples_as_a_key() -> bytes:
    """A key whose hash recurses 400,000 deep."""
    return torch_zip(b"}(" + b")" + b"\x85" * 400_000 + b"Nu")


@attack("m.pt")
def colliding_keys() -> bytes:
    """Whole numbers that all have the same hash: a dictionary of them takes a minute."""
    prime = (1 << 61) - 1
    keys = (prime * (i + 1) for i in range(60_000))
    return torch_zip(b"}(" + b"".join(b"\x8a\x0a" + k.to_bytes(10, "little") + b"N" for k in keys) + b"u")


@attack("m.pt")
def globals_flood() -> bytes:
    """STACK_GLOBAL of two names that the memo holds."""
    return torch_zip(obj("a")[:-2] + b"q\x000](" + b"h\x00h\x00\x93" * 180_000 + b"e")


@attack("m.pt")
def a_long_class_often() -> bytes:
    """A class whose name has 350 KB, made an object of 120,000 times."""
    return torch_zip(obj("m")[:-2] + obj("q" * 350_000)[:-2] + b"\x93q\x000](" + b"h\x00)\x810" * 120_000 + b"e")


@attack("m.pt")
def a_long_function_often() -> bytes:
    """A function whose name has 350 KB, as what makes 70,000 tensors of a subclass."""
    name = obj("m")[:-2] + obj("q" * 350_000)[:-2] + b"\x93q\x000"
    make = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x010(h\x00N)tq\x020"
    return torch_zip(name + make + b"](" + b"h\x01h\x02R0" * 70_000 + b"e")


@attack("m.pt", arch=DENSE, exits=(0,))
def a_name_of_wrappers() -> bytes:
    """module. 130,000 times before the name of a weight."""
    return torch_zip(table(**{"module." * 130_000 + "weight": WEIGHT}), {"0": SIX})


@attack("m.pt")
def storages_flood() -> bytes:
    """A persistent id per storage, each under a name of its own."""
    return torch_zip(b"](" + b"".join(storage(str(i), 1) for i in range(10_000)) + b"e")


@attack("m.pt")
def marks() -> bytes:
    """900,000 marks, and no end to them."""
    return torch_zip(b"(" * 900_000 + b"t" * 10)


# -- lengths that lie --------------------------------------------------------------------------------


@attack("m.pt")
def long_text_claimed() -> bytes:
    """BINUNICODE8 of a petabyte."""
    return torch_zip(b"\x8d" + struct.pack("<Q", 1 << 50))


@attack("m.pt")
def long_bytes_claimed() -> bytes:
    """BYTEARRAY8 of a petabyte."""
    return torch_zip(b"\x96" + struct.pack("<Q", 1 << 50))


@attack("m.pt")
def frame_lies() -> bytes:
    """A frame that is longer than the file."""
    return torch_zip(b"\x95" + struct.pack("<Q", 1 << 62) + b"]" * 1000)


@attack("m.pt")
def number_of_digits() -> bytes:
    """A whole number of 400 KB as the size of a storage, so that a message about it would have a million digits."""
    number = b"\x8b" + struct.pack("<I", 400 * KB) + b"\x7f" * (400 * KB)
    storage_of = b"(" + obj("storage") + b"ctorch\nFloatStorage\n" + obj("0") + obj("cpu") + number + b"tQ"
    return torch_zip(table(w=call("torch._utils._rebuild_tensor_v2", storage_of, b"K\x00", b")", b")")), {"0": SIX})


@attack("m.pt", arch=DENSE)
def shape_of_digits() -> bytes:
    """A shape of 10**5000."""
    return torch_zip(table(**{"w.weight": tensor("0", 6, (10**5000, 3), (0, 1))}), {"0": SIX})


@attack("m.pt", arch=DENSE)
def offset_of_digits() -> bytes:
    """An offset of 10**5000."""
    return torch_zip(table(**{"w.weight": tensor("0", 6, (2, 3), (3, 1), 10**5000)}), {"0": SIX})


@attack("m.pt")
def decimal_digits() -> bytes:
    """INT of 900,000 decimal digits."""
    return torch_zip(b"I" + b"9" * 900_000 + b"\n")


@attack("m.pt", arch=DENSE)
def broadcast_to_a_terabyte() -> bytes:
    """Stride 0: six numbers that claim to be 2**38."""
    return torch_zip(table(**{"w.weight": tensor("0", 6, (1 << 20, 1 << 18), (0, 0))}), {"0": SIX})


@attack("m.pt", arch=DENSE)
def overflowing_shape() -> bytes:
    """A shape whose product is 0 modulo 2**64."""
    return torch_zip(table(**{"w.weight": tensor("0", 6, (1 << 32, 1 << 32), (0, 0))}), {"0": SIX})


@attack("m.pt", arch=DENSE)
def empty_and_endless_shape() -> bytes:
    """No elements, but sizes beyond what an array may have."""
    return torch_zip(table(**{"w.weight": tensor("0", 6, (1 << 62, 0, 1 << 62), (0, 0, 0))}), {"0": SIX})


@attack("m.pt")
def legacy_storage_claims_an_exabyte() -> bytes:
    """The list behind a legacy file promises 2**60 numbers."""
    return torch_legacy(table(w=tensor("0", 1 << 60, (2, 3), (3, 1))), {"0": (1 << 60, SIX)})


# -- what is shared ----------------------------------------------------------------------------------


def _doubled(leaf: bytes, join: object, levels: int = 40) -> bytes:
    """``join(get, get)`` of the level before, again and again."""
    body = leaf
    for level in range(levels):
        put, get = memo(level)
        body = body + put + b"0" + join(get)  # type: ignore[operator]
    return body


@attack("m.pt")
def tables_doubled() -> bytes:
    """40 dictionaries that each hold the one before twice."""
    return torch_zip(_doubled(table(w=obj(1)), lambda get: table(model=get, net=get)))


@attack("m.pt")
def lists_doubled() -> bytes:
    """40 lists that each hold the one before twice."""
    return torch_zip(_doubled(b"]", lambda get: b"](" + get + get + b"e"))


@attack("m.pt")
def sequential_doubled() -> bytes:
    """40 Sequentials that each hold the one before twice."""
    leaf = module(LINEAR, table(weight=WEIGHT))
    return torch_zip(_doubled(leaf, lambda get: module(SEQUENTIAL, modules=table(**{"0": get, "1": get}))), {"0": SIX})


@attack("m.pt")
def empty_sequential_doubled() -> bytes:
    """The same without any layer in it."""
    return torch_zip(_doubled(module(SEQUENTIAL), lambda get: module(SEQUENTIAL, modules=table(a=get, b=get))))


@attack("m.pt")
def own_modules_doubled() -> bytes:
    """The same of a class of the user's, whose weights are listed."""
    leaf = module(LINEAR, table(weight=WEIGHT))
    body = _doubled(leaf, lambda get: module("mine.Net", modules=table(a=get, b=get)))
    return torch_zip(body, {"0": SIX})


@attack("m.pt")
def script_doubled() -> bytes:
    """40 TorchScript modules that each hold the one before twice."""

    def script(**attrs: bytes) -> bytes:
        return b"c__torch__\nNet\n)\x81" + table(**attrs) + b"b"

    return torch_zip(_doubled(script(w=WEIGHT), lambda get: script(a=get, b=get)), {"0": SIX})


@attack("m.pt")
def long_names_doubled() -> bytes:
    """Modules under names of 20 KB: the dotted names grow with every level."""
    name = "n" * 20_000
    leaf = module(LINEAR, table(weight=WEIGHT))
    body = _doubled(leaf, lambda get: module("mine.Net", modules=table(**{name: get, name + "2": get})), 20)
    return torch_zip(body, {"0": SIX})


@attack("m.pt")
def module_in_itself() -> bytes:
    """A module that is its own child."""
    put, get = memo(7)
    body = b"cmine\nNet\n)\x81" + put + table(_parameters=b"}", _buffers=b"}", _modules=table(a=get)) + b"b"
    return torch_zip(body)


@attack("m.pt")
def table_in_itself() -> bytes:
    """A dictionary that is its own state_dict."""
    put, get = memo(7)
    return torch_zip(b"}" + put + obj("state_dict") + get + b"s")


@attack("m.pt")
def one_weight_in_a_thousand_layers() -> bytes:
    """A thousand Linears of one matrix of 0.5 MB."""
    n = 360
    put, get = memo(9)
    shared = module(LINEAR, table(weight=tensor("0", n * n, (n, n), (n, 1)))) + put + b"0"
    layers = b"}(" + b"".join(obj(str(i)) + get for i in range(1000)) + b"u"
    return torch_zip(shared + module(SEQUENTIAL, modules=layers), {"0": os.urandom(4) * (n * n)})


@attack("m.pt")
def a_thousand_broadcast_layers() -> bytes:
    """A thousand Linears, each a matrix of 1 MB out of six numbers."""
    def layer(i: int) -> bytes:
        return obj(str(i)) + module(LINEAR, table(weight=tensor("0", 6, (512, 512), (0, 0), i % 6)))

    layers = b"}(" + b"".join(layer(i) for i in range(1000)) + b"u"
    return torch_zip(module(SEQUENTIAL, modules=layers), {"0": SIX})


@attack("m.pt")
def views_of_one_storage() -> bytes:
    """A thousand Linears, each another view of one half-precision storage."""
    def layer(i: int) -> bytes:
        weight = tensor("0", 200_000, (300, 300), (300, 1), i, kind="HalfStorage")
        return obj(str(i)) + module(LINEAR, table(weight=weight))

    layers = b"}(" + b"".join(layer(i) for i in range(1000)) + b"u"
    return torch_zip(module(SEQUENTIAL, modules=layers), {"0": bytes(400_000)})


# -- names -------------------------------------------------------------------------------------------


@attack("m.pt", arch=DENSE)
def control_characters_in_names() -> bytes:
    """Names that would clear a terminal, or write another line below the error."""
    names = ["\x1b[2J\x1b[31m", "a\nlstm-rt: all is well", "\u202eevil", "\u2028x"]
    return torch_zip(table(**dict.fromkeys(names, WEIGHT)), {"0": SIX})


@attack("m.pt", arch=DENSE)
def lone_surrogates_in_names() -> bytes:
    """Names that no encoding can write."""
    return torch_zip(table(**{"w.\ud800": WEIGHT, "\udfff.weight": WEIGHT}), {"0": SIX})


@attack("m.pt", arch=DENSE)
def a_name_of_a_megabyte() -> bytes:
    """One weight with a name of 0.9 MB."""
    return torch_zip(table(**{"n" * (900 * KB): WEIGHT}), {"0": SIX})


@attack("m.pt")
def a_class_of_a_megabyte() -> bytes:
    """The class of the module has a name of 0.9 MB."""
    return torch_zip(module("m." + "C" * (9 * MB // 10), table(weight=WEIGHT)), {"0": SIX})


@attack("m.pt")
def many_sets_of_weights() -> bytes:
    """5,000 sets of weights to choose from."""
    body = b"}(" + b"".join(obj(f"set{i}") + table(w=WEIGHT) for i in range(5000)) + b"u"
    return torch_zip(body, {"0": SIX})


# -- the search for weights --------------------------------------------------------------------------


@attack("m.pt")
def one_object_listed_often() -> bytes:
    """An object of 60,000 items, in a list 100,000 times."""
    big = b"ca\nB\n)\x81(" + b"NK\x01" * 60_000 + b"uq\x000"
    return torch_zip(big + b"](" + b"h\x00" * 100_000 + b"e")


@attack("m.pt")
def one_tensor_listed_often() -> bytes:
    """A tensor, in a list 400,000 times."""
    return torch_zip(WEIGHT + b"q\x070](" + b"h\x07" * 400_000 + b"e", {"0": SIX})


@attack("m.pt")
def one_array_listed_often() -> bytes:
    """A NumPy array, in a list 400,000 times."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01K\x01\x85"
    array += b"cnumpy\ndtype\nX\x02\0\0\0f4\x85R\x89C\x04abcdtb"
    return torch_zip(array + b"q\x070](" + b"h\x07" * 400_000 + b"e")


@attack("m.pt")
def tensors_below_a_long_name() -> bytes:
    """20,000 tensors in lists below names of 100 KB."""
    lists = b"](" + b"h\x07" * 20_000 + b"e"
    return torch_zip(WEIGHT + b"q\x070" + table(**{"n" * (100 * KB): table(**{"m" * (100 * KB): lists})}), {"0": SIX})


@attack("m.pt")
def many_sets_beside_a_big_one() -> bytes:
    """10,000 weights, and 10,000 other sets to compare them with."""
    names = b"".join(obj(f"w{i}.weight")[:-2] + b"h\x07" for i in range(10_000))
    sets = b"".join(obj(f"s{i}")[:-2] + f"}}Va{i}.weight\n".encode() + b"h\x07s" for i in range(10_000))
    return torch_zip(WEIGHT + b"q\x070}(" + obj("model") + b"}(" + names + b"u" + sets + b"u", {"0": SIX})


@attack("m.pt")
def keys_of_dots() -> bytes:
    """Names for which a regular expression would go back and forth."""
    names = ["parametrizations." * 20_000, "weight" + "_raw" * 40_000, ".weight_raw" * 10_000, "_g" * 60_000]
    return torch_zip(table(**dict.fromkeys(names, WEIGHT)), {"0": SIX})


@attack("m.pt")
def draft_of_many_layers() -> bytes:
    """8,000 layers of weights: a draft of their wiring is asked for."""
    body = b"}(" + b"".join(obj(f"l{i}.weight")[:-2] + b"h\x07" for i in range(8_000)) + b"u"
    return torch_zip(tensor("0", 4, (2, 2), (2, 1)) + b"q\x070" + body, {"0": SIX[:16]})


@attack("m.pt")
def draft_of_layers_of_all_sizes() -> bytes:
    """1,500 layers that each fit behind several others."""
    def size(i: int) -> tuple[int, int]:
        return (i % 7 + 1, i % 5 + 1)

    def layer(i: int) -> bytes:
        rows, columns = size(i)
        return obj(f"l{i}.weight")[:-2] + tensor("0", 40, (rows, columns), (columns, 1))

    return torch_zip(b"}(" + b"".join(layer(i) for i in range(1500)) + b"u", {"0": bytes(160)})


@attack("m.pt", arch='[[layer]]\nop = "lstm"\nweights = "lstm"\n')
def prefixes_of_many_layers() -> bytes:
    """8,000 layers none of which has the prefix that is asked for."""
    body = b"}(" + b"".join(obj(f"net{i}.lstm{i}.weight_ih_l0")[:-2] + b"h\x07" for i in range(8_000)) + b"u"
    return torch_zip(WEIGHT + b"q\x070" + body, {"0": SIX})


@attack("m.pkl")
def plain_pickle_of_a_call() -> bytes:
    """A pickle without torch around it, which would run a command."""
    return b"\x80\x04" + call("os.system", run("plain_pickle")) + b"."


@attack("m.pkl")
def text_pickle_of_a_call() -> bytes:
    """One of Python 2's, by which a class is called."""
    return b"cos\nsystem\np0\n(S'echo hello > text_pickle'\np1\ntp2\nRp3\n."


@attack("m.pkl")
def plain_pickle_of_archives() -> bytes:
    """One zip archive of 5,000 entries, read as the numbers of 100,000 tensors."""
    inner = zipped({f"m/{i}": b"" for i in range(5_000)})
    load = b"ctorch.storage\n_load_from_bytes\n" + b"B" + struct.pack("<I", len(inner)) + inner + b"\x85q\x00R"
    return b"\x80\x02](" + load + b"ctorch.storage\n_load_from_bytes\nh\x00R" * 10_000 + b"e."


@attack("m.pkl")
def plain_pickle_of_an_archive_in_itself() -> bytes:
    """A tensor whose numbers are a file with a tensor whose numbers are a file."""
    inner = torch_zip(call("torch.storage._load_from_bytes", obj(b"x" * 100)), {})
    return b"\x80\x02" + call("torch.storage._load_from_bytes", b"B" + struct.pack("<I", len(inner)) + inner) + b"."


@attack("m.pt")
def sixteen_sets_in_a_large_vocabulary() -> bytes:
    """As many sets as a draft takes together, each of which is looked for in 200,000 lists."""
    sets = b"".join(obj(f"s{i}")[:-2] + table(**{f"l{i}.weight": WEIGHT}) for i in range(16))
    return torch_zip(b"}(" + sets + obj("words")[:-2] + b"](" + b"]" * 200_000 + b"e" + b"u", {"0": SIX})
