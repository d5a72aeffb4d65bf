"""Architecture files: prefixes that are nearly right, names that do not exist, and drafts."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from helpers.paths import DATA
from helpers.state_dicts import RNG, dense, embedding, rec, weights
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch

import lstm_rt
from lstm_rt import Model
from lstm_rt.errors import ConvertError, GraphError, InputError, did_you_mean
from lstm_rt.format import dumps
from lstm_rt.graph import Activation, Graph

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

ARCH: dict[str, Any] = {"layer": [{"op": "lstm", "weights": "lstm"}, {"op": "dense", "weights": "fc"}]}


def below(prefix: str) -> dict[str, Any]:
    return {f"{prefix}{k}": v for k, v in {**rec("lstm", 3, 5), **dense("fc", 5, 2)}.items()}


# -- prefixes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["model.", "net.", "a.b.", "module._orig_mod.model."])
def test_a_common_prefix_is_found_and_noted(prefix: str) -> None:
    state = below(prefix)
    graph = from_torch(state, arch=ARCH)
    bare = prefix.removeprefix("module._orig_mod.").removesuffix(".")
    assert graph.meta["notes"] == [
        f"the weights of every layer were found below {bare!r}, which the arch file does not name"
    ]
    x = RNG.normal(0, 1, (2, 4, 3)).astype(np.float32)
    plain = from_torch({k.removeprefix(prefix): v for k, v in state.items()}, arch=ARCH)
    assert "notes" not in plain.meta
    np.testing.assert_array_equal(reference.run(graph, [x])[0], reference.run(plain, [x])[0])


def test_ignored_weights_and_states_below_a_common_prefix() -> None:
    state = below("model.") | weights(("model.h0", (1, 1, 5)), ("model.aux.w", (2,)), ("loss.weight", (2, 2)))
    arch = {
        "ignore": ["aux.*", "loss.*"],
        "layer": [{**ARCH["layer"][0], "h0": "h0", "c0": "h0"}, ARCH["layer"][1]],
    }
    graph = from_torch(state, arch=arch)
    assert [n.op for n in graph.nodes].count("constant") == 2
    with pytest.raises(ConvertError, match=r"1 weight is not used by any layer: loss.weight \(2, 2\)"):
        from_torch(state, arch={**arch, "ignore": ["aux.*"]})


@pytest.mark.parametrize("prefix", ["module.", "model.", "a.b."])
def test_a_prefix_that_only_the_arch_has_is_noted(prefix: str) -> None:
    layers = [{**layer, "weights": prefix + layer["weights"]} for layer in ARCH["layer"]]
    graph = from_torch(below(""), arch={"layer": layers})
    name = prefix.removesuffix(".")
    assert graph.meta["notes"] == [
        f"the arch file puts {name!r} before every prefix; the names of the weights are without it"
    ]


def test_a_single_layer_below_a_prefix() -> None:
    graph = from_torch(rec("rnn", 3, 5), arch={"layer": [{"op": "lstm", "weights": ""}]})
    assert "'rnn'" in graph.meta["notes"][0]
    with pytest.raises(ConvertError, match=r"has a name without a dot.*layers that do exist: a, b"):
        from_torch(rec("a", 3, 5) | rec("b", 3, 5), arch={"layer": [{"op": "lstm", "weights": ""}]})


@pytest.mark.parametrize(
    ("state", "prefix", "message"),
    [
        (rec("encoder.lstm", 3, 5) | dense("fc", 5, 2), "encoder.lstn",
         r"layer 1 \(lstm\): no weight in state dict starts with 'encoder.lstn.'; layers that do exist: "
         r"encoder.lstm; did you mean 'encoder.lstm'\?"),
        (rec("a.lstm", 3, 5) | rec("b.lstm", 3, 5) | dense("fc", 5, 2), "lstm",
         r"did you mean 'a.lstm' or 'b.lstm'\?"),
        (rec("net.LSTM", 3, 5) | dense("fc", 5, 2), "lstm", r"did you mean 'net.LSTM'\?"),
        (dense("fc", 5, 2), "lstm", r"layers that do exist: fc$"),
        (below(""), "fc", r"layer 1 \(lstm\): state dict: there is no weight 'fc.weight_ih_l0'; there is fc.weight"),
    ],
)  # fmt: skip
def test_wrong_prefixes_name_the_nearest(state: dict[str, Any], prefix: str, message: str) -> None:
    layers = [{"op": "lstm", "weights": prefix}, ARCH["layer"][1]]
    with pytest.raises(ConvertError, match=message):
        from_torch(state, arch={"layer": layers})


# -- did you mean ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("lstn", ["lstm", "gru"], "; did you mean 'lstm'?"),
        ("LSTM", ["lstm", "gru"], "; did you mean 'lstm'?"),
        ("fc", ["model.fc", "lstm"], "; did you mean 'model.fc'?"),
        ("model.fc", ["fc", "lstm"], "; did you mean 'fc'?"),
        ("enc", ["enc1", "enc2"], "; did you mean 'enc1' or 'enc2'?"),
        ("zzz", ["lstm"], ""),
        ("", ["lstm"], ""),
        ("x" * 10_000, ["x"], ""),
        ("x", ["x" * 10_000], ""),
        (3, ["3"], ""),
        ("a\x1bb", ["a\x1bc"], "; did you mean 'a\\x1bc'?"),
    ],
)
def test_did_you_mean(name: Any, known: list[str], text: str) -> None:
    assert did_you_mean(name, known) == text


LAYERS = ARCH["layer"]


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ({"layers": LAYERS}, r"unknown option 'layers'.*did you mean 'layer'\?"),
        ({**ARCH, "ignored": []}, r"did you mean 'ignore'\?"),
        ({"layer": [{"op": "LSTM", "weights": "lstm"}]}, r"unknown op 'LSTM'.*did you mean 'lstm'\?"),
        ({"layer": [{**LAYERS[0], "wieghts": "x"}]}, r"unknown option 'wieghts'.*did you mean 'weights'\?"),
        ({"layer": [LAYERS[0], {**LAYERS[1], "activation": "Tahn"}]}, r"unknown activation.*did you mean 'tanh'\?"),
        ({"layer": [LAYERS[0], {"op": "linear", "weights": "fc"}]}, r'nn.Linear is op = "dense"'),
        ({"layer": [{**LAYERS[0], "name": "rec"}, {**LAYERS[1], "input": "rce"}]},
         r"there is no value 'rce' yet.*did you mean 'rec'"),
        ({**ARCH, "input": [{"name": "x", "kind": "sequ"}]}, r"unknown kind 'sequ'.*did you mean 'seq'\?"),
        ({**ARCH, "input": [{"name": "steps"}, {"name": "n", "kind": "lengths", "of": "step"}]},
         r"of = 'step' is not an input above it; did you mean 'steps'\?"),
        ({"layer": LAYERS[:1], "ignore": ["fcc.weight"]}, r"matches no weight; did you mean 'fc.weight'\?"),
    ],
)  # fmt: skip
def test_errors_of_arch_files_suggest(arch: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        from_torch(below(""), arch=arch)


def test_errors_at_run_time_suggest() -> None:
    graph = Graph()
    frames = graph.input("frames", "seq", 3)
    ids = graph.input("words", "ids")
    graph.output(frames, "y")
    graph.output(graph.embedding(ids, np.ones((4, 2), np.float32)), "z")
    model = Model(dumps(graph))
    x, i = np.zeros((1, 2, 3), np.float32), np.zeros((1, 5), np.int32)
    with pytest.raises(TypeError, match=r"unexpected argument 'frame'.*did you mean 'frames'\?"):
        model(frame=x, words=i)
    with pytest.raises(TypeError, match=r"unexpected argument 'length'.*did you mean 'lengths'\?"):
        model(x, i, length=[2])
    with pytest.raises(InputError, match=r"lengths for 'word'.*did you mean 'words'\?"):
        model(x, i, lengths={"word": [2]})
    with pytest.raises(InputError, match=r"unknown \['frame'\].*did you mean 'frames'\?"):
        reference.run(graph, {"frame": x, "words": i})
    with pytest.raises(GraphError, match=r"did you mean 'sigmoid'\?"):
        Activation("sigmoide")
    name = lstm_rt.kernels()[-1]
    with pytest.raises(InputError, match=rf"did you mean '{name}'"):
        Model(dumps(graph), kernels=name + "s")


# -- drafts ----------------------------------------------------------------------------------------


def draft(state: dict[str, Any]) -> dict[str, Any]:
    """The draft in the error message; it must convert as it is."""
    with pytest.raises(ConvertError, match="holds weights only") as e:
        from_torch(state)
    tree = tomllib.loads(str(e.value).split("\n\n", 1)[1])
    from_torch(state, arch=tree)
    return tree


def wiring(tree: dict[str, Any]) -> list[str]:
    """One word per layer: op, prefix, and what it reads if that is not the layer above."""
    return [
        ":".join([a["op"], a.get("weights", ""), a.get("input") or "+".join(a.get("inputs", []))]).rstrip(":")
        for a in tree["layer"]
    ]


CHAINS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "sorted by name": (
        dense("fc", 5, 2) | rec("lstm", 3, 5),
        ["lstm:lstm", "dense:fc"],
    ),
    "sorted by name, with a table": (
        dense("classifier", 5, 2) | embedding("table", 9, 4) | rec("z", 4, 5),
        ["embedding:table", "lstm:z", "dense:classifier"],
    ),
    "both directions": (
        rec("lstm", 3, 5, both=True) | dense("fc", 10, 2),
        ["lstm:lstm", "dense:fc"],
    ),
    "final states of all layers": (
        rec("lstm", 3, 5, layers=3) | dense("fc", 15, 2),
        ["lstm:lstm", "concat::lstm.h.0+lstm.h.1+lstm.h.2", "dense:fc"],
    ),
    "two heads": (
        rec("gru", 3, 5, gates=3) | dense("policy", 5, 4) | dense("value", 5, 1),
        ["gru:gru", "dense:policy", "dense:value:gru"],
    ),
    "two branches": (
        embedding("a_emb", 9, 4) | embedding("b_emb", 9, 4) | rec("a_rnn", 4, 5) | rec("b_rnn", 4, 5)
        | dense("fc", 10, 2),
        ["embedding:a_emb", "embedding:b_emb:b_emb_ids", "lstm:a_rnn:a_emb", "lstm:b_rnn:b_emb",
         "concat::a_rnn.h+b_rnn.h", "dense:fc"],
    ),
    "words and characters": (
        embedding("word_emb", 9, 4) | embedding("char_emb", 7, 3) | rec("lstm", 7, 5),
        ["embedding:word_emb", "embedding:char_emb:char_emb_ids", "concat::word_emb+char_emb", "lstm:lstm"],
    ),
    "input beside the features": (
        dense("pre", 3, 6) | rec("lstm", 9, 5),
        ["dense:pre", "concat::x+pre", "lstm:lstm"],
    ),
    "first matrix without bias": (
        weights(("proj.weight", (6, 3))) | rec("lstm", 6, 5),
        ["dense:proj", "lstm:lstm"],
    ),
    "layers with the same last name": (
        rec("0.module", 3, 5) | rec("1.module", 5, 4),
        ["lstm:0.module", "lstm:1.module"],
    ),
    "normalised": (
        dense("a", 3, 6) | weights(("n.weight", (6,)), ("n.bias", (6,))) | rec("gru", 6, 5, gates=3),
        ["dense:a", "layernorm:n", "gru:gru"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", CHAINS)
def test_drafts_follow_the_sizes(which: str) -> None:
    state, expected = CHAINS[which]
    assert wiring(draft(state)) == expected


def test_drafts_have_the_outputs_and_states_that_the_file_shows() -> None:
    tree = draft(CHAINS["two heads"][0])
    assert tree["output"] == [{"name": "policy"}, {"name": "value"}]
    tree = draft(CHAINS["words and characters"][0])
    assert tree["input"] == [{"name": "x", "kind": "ids"}, {"name": "char_emb_ids", "kind": "ids", "of": "x"}]
    tree = draft(rec("lstm", 3, 5, layers=2) | weights(("h_0", (2, 1, 5)), ("c_0", (2, 1, 5))))
    assert (tree["layer"][0]["h0"], tree["layer"][0]["c0"]) == ("h_0", "c_0")
    tree = draft({"net": rec("gru", 3, 5, gates=3), "init_state": weights(("w", (1, 1, 5)))["w"]})
    assert tree["layer"][0]["h0"] == "init_state"


def test_drafts_of_convolutions_and_attention() -> None:
    state = weights(
        ("cnn.0.weight", (8, 3, 3)), ("cnn.1.weight", (8,)), ("cnn.1.running_mean", (8,)), ("act.weight", (1,)),
        ("att.in_proj_weight", (24, 8)), ("att.out_proj.weight", (8, 8)),
    )  # fmt: skip
    state["cnn.1.running_var"] = np.ones(8, np.float32)
    order = ["cnn.0.weight", "cnn.1.weight", "cnn.1.running_mean", "cnn.1.running_var"]
    state = {n: state[n] for n in order} | rec("rnn", 8, 4, both=True) | state | dense("fc", 8, 2)
    tree = draft(state)
    assert [(a["op"], a.get("input")) for a in tree["layer"]] == [
        ("conv", None), ("batchnorm", None), ("lstm", None), ("prelu", None), ("multihead", None), ("dense", None)
    ]  # fmt: skip
    assert "output" not in tree
    assert from_torch(state, arch=tree).outputs
    image = weights(("c.weight", (8, 1, 3, 3))) | rec("rnn", 16, 4) | dense("fc", 4, 2)
    with pytest.raises(ConvertError) as e:
        from_torch(image)
    tree = tomllib.loads(e.value.draft)
    assert [(a["op"], a.get("time")) for a in tree["layer"]] == [("conv", "width"), ("lstm", None), ("dense", None)]
    tree["layer"][0]["size"] = [4, 1]
    assert from_torch(image, arch=tree).outputs


def test_drafts_say_what_cannot_be_known() -> None:
    with pytest.raises(ConvertError) as e:
        from_torch(rec("r", 3, 5, gates=1) | dense("fc", 7, 2) | weights(("odd.weight", (4, 3, 5, 1, 1))))
    text = str(e.value)
    for line in (
        "# What the weights do not tell:",
        "# - the nonlinearity of the rnn",
        "# - activations between layers and at the end",
        "but no value above has 7 features: what does it read?",
        "# odd: no supported layer has these weights: weight (4, 3, 5, 1, 1)",
    ):
        assert line in text


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\x1b[2Jb", "\u202ea", "\U0001f3b8", "a'''b", "[x]"])
def test_drafts_with_odd_names_are_toml(name: str) -> None:
    tree = draft(rec(name, 3, 5) | dense(f"fc{name}", 5, 2))
    assert tree["layer"][0]["weights"] == name


def test_drafts_stay_short_and_end() -> None:
    state = {k: v for i in range(300) for k, v in dense(f"layer{i}", i + 1, 2 * i + 1).items()}
    with pytest.raises(ConvertError) as e:
        from_torch(state)
    assert len(str(e.value)) < 30_000
    assert "and 190 more" in str(e.value)


def test_the_draft_of_a_published_model_is_its_wiring() -> None:
    """ERGO: two sequences, each with an embedding and an LSTM, whose last states go through dense layers."""
    state: dict[str, Any] = {}
    for name in ("tcr", "pep"):
        state |= embedding(f"{name}_embedding", 21, 10)
    for name in ("tcr", "pep"):
        state |= rec(f"{name}_lstm", 10, 30, layers=2)
    state |= dense("hidden_layer", 60, 30) | dense("output_layer", 30, 1)
    found = draft(state)
    assert "concat::tcr_lstm.h+pep_lstm.h" in wiring(found)
    truth = DATA / "ergo.toml"
    prefixes = {a["weights"] for a in tomllib.loads(truth.read_text())["layer"] if "weights" in a}
    assert {a["weights"] for a in found["layer"] if "weights" in a} == prefixes
