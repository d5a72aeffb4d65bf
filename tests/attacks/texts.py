"""Attacks by JSON (GuitarML, Keras's configurations have files of their own) and safetensors."""

from __future__ import annotations

import json

from .build import DENSE, KB, MB, SIX, attack, entry, safetensors

GUITAR = {"model": "SimpleRNN", "input_size": 1, "output_size": 1, "hidden_size": 1, "num_layers": 1,
          "unit_type": "LSTM", "bias_fl": True, "skip": 1}  # fmt: skip


def guitarml(state: object = None, **model_data: object) -> bytes:
    return json.dumps({"model_data": {**GUITAR, **model_data}, "state_dict": {} if state is None else state}).encode()


@attack("m.json")
def json_of_lists() -> bytes:
    """5 MB of empty lists."""
    return b'{"state_dict": [' + b"[]," * (5 * MB // 3) + b"[]]}"


@attack("m.json")
def json_of_tables() -> bytes:
    """5 MB of tables of one item."""
    return b'{"state_dict": [' + b'{"a":0},' * (5 * MB // 8) + b"0]}"


@attack("m.json")
def json_nested() -> bytes:
    """900,000 lists in each other."""
    return b'{"state_dict": ' + b"[" * 900_000


@attack("m.json")
def json_number_of_400_digits() -> bytes:
    """A size, and weights, of 400 digits."""
    return guitarml({"rec.weight_ih_l0": [[10**400]]}, input_size=10**400, skip=10**400, output_size=10**400)


@attack("m.json")
def json_skip_of_400_digits() -> bytes:
    """skip and the sizes have 400 digits, the weights are good."""
    state = {"rec.weight_ih_l0": [[0.0]] * 4, "rec.weight_hh_l0": [[0.0]] * 4, "rec.bias_ih_l0": [0.0] * 4,
             "rec.bias_hh_l0": [0.0] * 4, "lin.weight": [[0.0]], "lin.bias": [0.0]}  # fmt: skip
    return guitarml(state, skip=10**400, output_size=10**400)


@attack("m.json")
def json_number_of_5000_digits() -> bytes:
    """More digits than Python turns into a number."""
    return b'{"model_data": {"input_size": ' + b"9" * 5000 + b'}, "state_dict": {}}'


@attack("m.json")
def json_lone_surrogate() -> bytes:
    """A weight's name that no encoding can write."""
    return guitarml({"rec.\ud800": [[0.0]]})


@attack("m.json")
def json_wide_text() -> bytes:
    """One character above 65535 makes all others four times as wide."""
    return b'{"state_dict": {"\xf0\x9f\x98\x80' + b"a" * (900 * KB) + b'": [1]}}'


@attack("m.json")
def json_unknown_options() -> bytes:
    """40,000 options that nobody knows."""
    return guitarml(None, **{f"\x1b[2J{i}": 0 for i in range(40_000)})


@attack("m.json")
def json_many_weights_too_many() -> bytes:
    """20,000 weights that no layer takes."""
    state = {"rec.weight_ih_l0": [[0.0]] * 4, "rec.weight_hh_l0": [[0.0]] * 4, "rec.bias_ih_l0": [0.0] * 4,
             "rec.bias_hh_l0": [0.0] * 4, "lin.weight": [[0.0]], "lin.bias": [0.0]}  # fmt: skip
    return guitarml(state | {f"\x1b\n{i}": [1] for i in range(20_000)})


@attack("m.json")
def json_dimensions() -> bytes:
    """A weight of 500 dimensions."""
    return b'{"state_dict": {"w": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}}"


@attack("m.json")
def json_not_utf8() -> bytes:
    """Bytes that are no text."""
    return b'{"state_dict": {"\xff\xfe": [1]}}'


@attack("m.safetensors")
def safetensors_dimensions() -> bytes:
    """A tensor of 4,000 dimensions."""
    return safetensors({"a": entry([2] * 4000)}, bytes(8))


@attack("m.safetensors")
def safetensors_many_dimensions_of_nothing() -> bytes:
    """Tensors of 4,000 dimensions of which one is 0."""
    return safetensors({f"a{i}": entry([1 << 62] * 3999 + [0], (0, 0)) for i in range(10)})


@attack("m.safetensors", arch=DENSE)
def safetensors_many_tensors() -> bytes:
    """12,000 tensors of no bytes."""
    return safetensors({str(i): entry([0], (0, 0)) for i in range(12_000)})


@attack("m.safetensors")
def safetensors_header_of_tables() -> bytes:
    """A header of 5 MB of empty tables."""
    return safetensors(b'{"a": [' + b"{}," * (5 * MB // 3) + b"{}]}")


@attack("m.safetensors")
def safetensors_header_claims_much() -> bytes:
    """A header of an exabyte."""
    return safetensors({"a": entry()}, bytes(8), 1 << 60)


@attack("m.safetensors")
def safetensors_numbers_of_digits() -> bytes:
    """Offsets and sizes of 4,000 digits."""
    return safetensors({"a": entry([10**4000], (0, 10**4000))}, bytes(8))


@attack("m.safetensors")
def safetensors_name_twice() -> bytes:
    """One name for two tensors."""
    text = json.dumps(entry((2, 3), (0, 24)))
    return safetensors(f'{{"w.weight": {text}, "w.weight": {text}}}'.encode(), SIX)


@attack("m.safetensors")
def safetensors_overlap() -> bytes:
    """A thousand tensors that are the same bytes."""
    return safetensors({f"a{i}": entry((2, 3), (0, 24)) for i in range(1000)}, SIX)


@attack("m.safetensors")
def safetensors_aliases() -> bytes:
    """20,000 names in the metadata, all for one tensor."""
    header = {"w": entry((2, 3), (0, 24)), "__metadata__": {f"\x1b{i}": "w" for i in range(20_000)}}
    return safetensors(header, SIX)


@attack("m.safetensors", arch=DENSE)
def safetensors_control_characters() -> bytes:
    """Names that would act upon a terminal."""
    return safetensors({"\x1b[2J\nevil": entry((2, 3), (0, 24))}, SIX)


@attack("m.json")
def json_of_small_arrays() -> bytes:
    """1.5 MB of arrays of one number."""
    return b"{" + b",".join(b'"%d":[1]' % i for i in range(120_000)) + b"}"


@attack("m.json")
def json_of_sets() -> bytes:
    """20,000 tables of weights, none of them the obvious one."""
    return b"{" + b",".join(b'"%d":{"weight":[[1]]}' % i for i in range(20_000)) + b"}"
