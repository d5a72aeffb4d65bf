"""Several sets of weights in one architecture file, and the parts of a model that run apart."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.state_dicts import RNG, dense, embedding, rec
from helpers.stored import case
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.torch_reader.from_torch import from_torch

import lstm_rt
from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

ROLL_OUT = case("encoder_decoder_checkpoint")
FILE = ROLL_OUT.folder / "LSTM_rollout8.pth.tar"
BOTH = ["encoder_state_dict", "decoder_state_dict"]
PARTS = """
checkpoint = ["encoder_state_dict", "decoder_state_dict"]

[[part.encoder.layer]]
op = "dense"
weights = "encoder_state_dict.linear1"
activation = "relu"
[[part.encoder.layer]]
op = "lstm"
name = "r"
weights = "encoder_state_dict.lstm1"
[[part.encoder.output]]
name = "h"
value = "r.h"
[[part.encoder.output]]
name = "c"
value = "r.c"

[[part.decoder.layer]]
op = "dense"
weights = "decoder_state_dict.linear1"
activation = "relu"
[[part.decoder.layer]]
op = "lstm"
weights = "decoder_state_dict.lstm1"
[[part.decoder.layer]]
op = "dense"
weights = "decoder_state_dict.linear2"
"""


def roll_out(encoder: Any, decoder: Any, x: np.ndarray, steps: int) -> np.ndarray:
    """The decoder goes on from the encoder's state, by what it gave itself."""
    h, c = encoder(x)
    stream = decoder.stream(batch=len(x))
    stream.state = (h[None], c[None])
    y = np.ascontiguousarray(x[:, -1])
    out = []
    for _ in range(steps):
        y = stream.step(y).copy()
        out.append(y)
    return np.stack(out, 1)


def test_an_encoder_and_a_decoder_of_one_file_on_the_command_line(tmp_path: Path) -> None:
    arch = tmp_path / "both.toml"
    arch.write_text(PARTS)
    for part in ("encoder", "decoder"):
        out = str(tmp_path / f"{part}.lrt")
        assert main(["convert", str(FILE), "--arch", str(arch), "--part", part, "-o", out]) == 0
        assert main(["verify", out]) == 0
    encoder, decoder = (lstm_rt.load(tmp_path / f"{p}.lrt") for p in ("encoder", "decoder"))
    tried = 0
    for tag in ("b1_dec8", "b3_dec8"):
        for ins, outs in ROLL_OUT.runs(tag):
            ROLL_OUT.close(roll_out(encoder, decoder, ins["x"].astype(np.float32), 8), outs["y"])
            tried += 1
    assert tried == 2
    assert from_torch(FILE, arch=arch, part="decoder").meta["source"]["part"] == "decoder"


def test_a_part_must_be_chosen_and_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arch = tmp_path / "both.toml"
    arch.write_text(PARTS)
    assert main(["convert", str(FILE), "--arch", str(arch), "-o", str(tmp_path / "m.lrt")]) == 2
    said = capsys.readouterr().err
    assert "both.toml: it describes encoder, decoder, which are models of their own: choose one" in said
    assert "--part" in said
    with pytest.raises(ConvertError, match="no part 'decodr': it describes encoder, decoder; did you mean 'decoder'"):
        from_torch(FILE, arch=arch, part="decodr")
    with pytest.raises(ConvertError, match="there is no part 'x': it describes one model, without parts"):
        from_torch(FILE, arch=ROLL_OUT.folder / "enc.toml", part="x")
    with pytest.raises(ConvertError, match="part = 'x' chooses among the parts of an arch file, and there is none"):
        from_torch(FILE, arch={"checkpoint": "encoder_state_dict"}, part="x")
    torch = pytest.importorskip("torch")
    with pytest.raises(ConvertError, match="arch is for weight files"):
        from_torch(torch.nn.Linear(2, 2), torch.ones(1, 2), part="x")


def test_keras_files_have_no_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.json").write_text('{"class_name": "Sequential", "config": {}}')
    assert main(["convert", str(tmp_path / "m.json"), "--part", "x", "-o", str(tmp_path / "m.lrt")]) == 2
    assert "Keras files take no --part" in capsys.readouterr().err


def test_weights_that_no_part_uses_are_left_over() -> None:
    state = {**rec("enc", 3, 5), **rec("dec", 2, 5), **dense("out", 5, 2)}
    arch: dict[str, Any] = {
        "part": {
            "a": {"layer": [{"op": "lstm", "weights": "enc"}]},
            "b": {"layer": [{"op": "lstm", "weights": "dec"}]},
        }
    }
    with pytest.raises(ConvertError, match=r"2 weights are not used by any layer: out.weight \(2, 5\), out.bias"):
        from_torch(state, arch=arch, part="a")
    arch["part"]["b"]["layer"].append({"op": "dense", "weights": "out"})
    assert [n.op for n in from_torch(state, arch=arch, part="a").nodes] == ["lstm"]
    assert [n.op for n in from_torch(state, arch=arch, part="b").nodes] == ["lstm", "dense"]
    assert from_torch(state, arch={**arch, "ignore": ["out.*"]}, part="b").outputs


def test_two_sets_in_one_model() -> None:
    """Its second layer goes on from the state of the first."""
    state = {"a": rec("lstm", 3, 5), "b": {f"module.{k}": v for k, v in rec("lstm", 2, 5).items()}, "epoch": 3}
    arch = {
        "checkpoint": ["a", "b"],
        "input": [{"name": "x"}, {"name": "y"}],
        "layer": [
            {"op": "lstm", "name": "enc", "weights": "a.lstm"},
            {"op": "lstm", "weights": "b.lstm", "input": "y", "h0": "enc.h", "c0": "enc.c"},
        ],
    }
    graph = from_torch(state, arch=arch)
    torch = pytest.importorskip("torch")
    enc, dec = torch.nn.LSTM(3, 5, bias=False, batch_first=True), torch.nn.LSTM(2, 5, bias=False, batch_first=True)
    for module, name in ((enc, "a"), (dec, "b")):
        weights = {k.rpartition(".")[2]: torch.from_numpy(v) for k, v in state[name].items()}  # type: ignore[union-attr]
        module.load_state_dict(weights)
    x, y = (RNG.normal(0, 1, (2, t, f)).astype(np.float32) for t, f in ((4, 3), (6, 2)))
    with torch.no_grad():
        wanted = dec(torch.from_numpy(y), enc(torch.from_numpy(x))[1])[0].numpy()
    np.testing.assert_allclose(Model(dumps(graph))(x, y), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ({"part": []}, r"part must hold a table for each part, written \[\[part.NAME.layer\]\]"),
        ({"part": {"a": 3}}, r"part must hold a table for each part"),
        ({"part": {"a": {}}}, r"part a: there is no \[\[part.a.layer\]\]"),
        ({"part": {"a": {"ignore": []}}}, r"part a: unknown option 'ignore'; known: input, layer, output"),
        ({"part": {"a": {"layer": [{"op": "nope"}]}}}, r"part a: layer 1 \(nope\): unknown op 'nope'"),
        ({"part": {"a": {"layer": [{"op": "last"}]}}, "layer": [{"op": "last"}]}, r"has parts, and layers of none"),
        ({"checkpoint": [], "layer": [{"op": "last"}]}, r"checkpoint is \[\], expected the path to the weights, or"),
        ({"checkpoint": [1], "layer": [{"op": "last"}]}, r"checkpoint is \[1\], expected the path"),
        ({"checkpoint": 3, "layer": [{"op": "last"}]}, r"checkpoint is 3, expected the path"),
        ({"checkpoint": ["a", "a"], "layer": [{"op": "last"}]}, r"checkpoint names one place twice"),
        ({"checkpoint": ["a", "c"], "layer": [{"op": "last"}]}, r"checkpoint = 'c': 'c' does not exist; there is a, b"),
    ],
)
def test_errors_name_what_is_wrong(arch: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        from_torch({"a": rec("lstm", 3, 5), "b": rec("lstm", 2, 5)}, arch=arch)


# -- drafts --------------------------------------------------------------------------------------


def draft_of(state: Any) -> str:
    with pytest.raises(ConvertError) as e:
        from_torch(state)
    assert "lstm_rt_tools.from_torch(module, example) converts the live module" in str(e.value)
    return e.value.draft


def test_a_draft_of_a_checkpoint_with_an_encoder_and_a_decoder() -> None:
    draft = draft_of(FILE).replace('.linear1"', '.linear1"\nactivation = "relu"')
    arch = tomllib.loads(draft)
    encoder, decoder = (Model(dumps(from_torch(FILE, arch=arch, part=p))) for p in ("encoder", "decoder"))
    for ins, outs in ROLL_OUT.runs("b3_dec8"):
        ROLL_OUT.close(roll_out(encoder, decoder, ins["x"].astype(np.float32), 8), outs["y"])


SEQ2SEQ = {
    "one state dict": {
        **embedding("model.encoder.emb", 20, 4), **rec("model.encoder.rnn", 4, 6, layers=2),
        **embedding("model.decoder.emb", 30, 4), **rec("model.decoder.rnn", 4, 6, layers=2),
        **dense("model.decoder.out", 6, 30),
    },
    "a table for both, and a layer beside them": {
        **embedding("embedding", 30, 4), **rec("enc", 4, 6, layers=2), **rec("dec", 4, 6, layers=2),
        **dense("fc", 6, 30),
    },
    "two state dicts": {
        "enc_state": {**embedding("emb", 20, 4), **rec("rnn", 4, 6, layers=2)},
        "dec_state": {**embedding("emb", 30, 4), **rec("rnn", 4, 6, layers=2), **dense("out", 6, 30)},
    },
}  # fmt: skip


@pytest.mark.parametrize("which", SEQ2SEQ)
def test_drafts_of_encoders_and_decoders(which: str) -> None:
    state = SEQ2SEQ[which]
    arch = tomllib.loads(draft_of(state))
    encoder = from_torch(state, arch=arch, part="encoder")
    assert [n.op for n in encoder.nodes] == ["embedding", "lstm", "lstm"]
    assert [encoder.values[i].name for i in encoder.outputs] == ["h0", "c0", "h1", "c1"]
    decoder = from_torch(state, arch=arch, part="decoder")
    assert [n.op for n in decoder.nodes] == ["embedding", "lstm", "lstm", "dense"]
    assert "draft" in "".join(decoder.meta["notes"])


@pytest.mark.parametrize(
    "state",
    [
        {**rec("encoder", 3, 5), **rec("decoder", 5, 3)},  # the decoder of an autoencoder reads the encoder
        {**embedding("encoder", 9, 3), **rec("rnn", 3, 5), **dense("decoder", 5, 9)},
        {**embedding("e", 9, 3), **rec("encoder", 3, 5), **dense("fc", 5, 9)},
        {"embedding": embedding("e", 9, 3), "rnn": rec("lstm", 3, 5), "head": dense("fc", 5, 9)},
    ],
)
def test_what_is_one_model_has_a_draft_of_one(state: dict[str, Any]) -> None:
    arch = tomllib.loads(draft_of(state))
    assert "part" not in arch
    assert from_torch(state, arch=arch).outputs


def test_a_draft_of_copies_takes_the_first() -> None:
    copies = {"raw": rec("lstm", 3, 5), "ema": rec("lstm", 3, 5)}
    with pytest.raises(ConvertError, match="several copies of the same weights") as e:
        from_torch(copies)
    arch = tomllib.loads(e.value.draft)
    assert arch["checkpoint"] == "raw"
    taken = from_torch(copies, arch=arch).nodes[0].weights["w_hh"]
    np.testing.assert_array_equal(taken, copies["raw"]["lstm.weight_hh_l0"])


def test_no_draft_of_very_many_sets() -> None:
    with pytest.raises(ConvertError, match="several sets") as e:
        from_torch({f"x{i}": rec("lstm", i + 1, 5) for i in range(17)})
    assert not e.value.draft


# -- a decoder with attention ----------------------------------------------------------------------

ATTENDING: dict[str, Any] = {
    "part": {
        "encoder": {
            "input": [{"name": "x"}, {"name": "n", "kind": "lengths", "of": "x"}],
            "layer": [{"op": "gru", "name": "gru", "weights": "encoder.gru", "input": "x"}],
            "output": [{"name": "keys", "value": "gru"}, {"name": "h", "value": "gru.h"}],
        },
        "decoder": {
            "input": [
                {"name": "y"},
                {"name": "keys", "size": 6},
                {"name": "n", "kind": "lengths", "of": "keys"},
            ],
            "layer": [
                {"op": "gru", "name": "gru", "weights": "decoder.gru", "input": "y"},
                {"op": "dense", "weights": "decoder.query", "name": "q"},
                {"op": "attention", "inputs": ["q", "keys", "keys"], "scale": 0.5, "name": "context"},
                {"op": "concat", "inputs": ["gru", "context"]},
                {"op": "dense", "weights": "decoder.out"},
            ],
        },
    }
}


def test_a_decoder_with_attention_is_called_step_by_step() -> None:
    """Its keys are an input; its state goes from call to call."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    modules = {
        "encoder.gru": nn.GRU(3, 6, batch_first=True), "decoder.gru": nn.GRU(2, 6, batch_first=True),
        "decoder.query": nn.Linear(6, 6, bias=False), "decoder.out": nn.Linear(12, 2),
    }  # fmt: skip
    state = {f"{p}.{k}": v.detach() for p, m in modules.items() for k, v in m.state_dict().items()}
    encoder, decoder = (
        Model(dumps(from_torch(state, arch=ATTENDING, part=part))) for part in ("encoder", "decoder")
    )
    x, n = RNG.normal(0, 1, (2, 5, 3)).astype(np.float32), np.array([5, 3], np.int32)
    y = np.zeros((2, 1, 2), np.float32)
    keys, h = encoder(x, n)
    wanted_state, fed = torch.from_numpy(h)[None], torch.from_numpy(y)
    given = h[None]
    there = torch.arange(5)[None] < torch.from_numpy(n)[:, None]
    for _ in range(4):
        y, given = decoder(y, keys, n, state=given, return_state=True)
        with torch.no_grad():
            g, wanted_state = modules["decoder.gru"](fed, wanted_state)
            scores = 0.5 * modules["decoder.query"](g) @ torch.from_numpy(keys).mT
            weights = scores.masked_fill(~there[:, None], -torch.inf).softmax(-1)
            fed = modules["decoder.out"](torch.cat([g, weights @ torch.from_numpy(keys)], -1))
        np.testing.assert_allclose(y, fed.numpy(), atol=1e-5)
