"""Which weights of a checkpoint are taken, in which form, and what the user is told about it."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.state_dicts import array
from helpers.stored import case
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch
from lstm_rt_tools.weights.checkpoints import Checkpoint, from_mapping, read_checkpoint
from lstm_rt_tools.weights.forms import fold

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps
from lstm_rt.graph import Graph


def state(hidden: int = 5, **more: Any) -> dict[str, Any]:
    """The state dict of an LSTM."""
    shapes = {"weight_ih_l0": (4 * hidden, 3), "weight_hh_l0": (4 * hidden, hidden), "bias_ih_l0": (4 * hidden,)}
    return {**{f"lstm.{k}": array(*s) for k, s in shapes.items()}, **more}


LSTM = {"layer": [{"op": "lstm", "weights": "lstm"}]}


def close(graph: Graph, name: str, tag: str) -> None:
    """The converted model gives what the framework gave."""
    stored = case(name)
    for ins, outs in stored.runs(tag):
        got = Model(dumps(graph))(*[a.astype(np.float32 if a.dtype.kind == "f" else np.int32) for a in ins.values()])
        for mine, theirs in zip(got if isinstance(got, tuple) else (got,), outs.values(), strict=True):
            stored.close(mine, theirs)


def notes(graph: Graph) -> str:
    return "\n".join(graph.meta.get("notes", []))


# -- files as people have them ---------------------------------------------------------------------

GOOD = [
    ("awd_lstm_weight_drop", "fastai.pth", "fastai.toml", "fastai_b3", "weight drop: .*0.rnns.0.module.weight_hh_l0"),
    ("awd_lstm_weight_drop", "salesforce.pt", "salesforce.toml", "salesforce_b3", "weight drop: .* called raw"),
    ("awd_lstm_weight_drop", "salesforce.pt", "salesforce_ignore.toml", "salesforce_b1", "weight drop"),
    ("encoder_decoder_checkpoint", "LSTM_rollout8.pth.tar", "enc.toml", "b3_enc", ""),
    ("lightning_model_prefix", "last.ckpt", "arch.toml", "b4", "found below 'model'"),
    ("lightning_model_prefix", "last.ckpt", "arch_full_names.toml", "b4", ""),
    ("weight_norm_state_dict", "old_form.pt", "arch.toml", "b4", "weight norm .*: lstm.weight_hh_l0, fc.weight"),
    ("weight_norm_state_dict", "new_form.pt", "arch.toml", "b4", "weight norm .*: lstm.weight_hh_l0, fc.weight"),
    ("weights_found_elsewhere", "params_are_hyper.pt", "arch.toml", "b4", ""),
    ("weights_found_elsewhere", "params_are_hyper.pt", "arch_key.toml", "b4", ""),
    ("weights_found_elsewhere", "model_is_config.pt", "arch.toml", "b4", ""),
    ("weights_found_elsewhere", "tuple.pt", "arch.toml", "b4", ""),
    ("weights_found_elsewhere", "best_model.pt", "arch.toml", "b4", "at best_model; there are others at model"),
    ("uisrnn_learned_initial_state", "h0_inside.pt", "arch_h0.toml", "b3", ""),
    ("label_map_with_numpy_keys", "har.pth", "har.toml", "har4", ""),
    ("lightning_ckpt_enum_omegaconf", "segmentation.ckpt", "arch.toml", "b4", ""),
    ("vocab_counter_checkpoint", "tagger.pt", "arch.toml", "b3", ""),
]


@pytest.mark.parametrize(("name", "file", "arch", "tag", "note"), GOOD)
def test_cases(name: str, file: str, arch: str, tag: str, note: str) -> None:
    graph = from_torch(case(name).folder / file, arch=case(name).folder / arch)
    close(graph, name, tag)
    assert bool(notes(graph)) == bool(note)
    assert re.search(note, notes(graph)), notes(graph)


def test_two_parts_of_one_model() -> None:
    """Each converts with an arch of its own; how to take both together is told."""
    folder = case("encoder_decoder_checkpoint").folder
    file = folder / "LSTM_rollout8.pth.tar"
    decoder = from_torch(file, arch=folder / "dec.toml")
    assert [n.op for n in decoder.nodes] == ["dense", "lstm", "dense"]
    both = {"layer": [{"op": "dense", "weights": "linear1"}, {"op": "dense", "weights": "linear2"}]}
    with pytest.raises(
        ConvertError,
        match=r"several sets of weights \(encoder_state_dict, decoder_state_dict\).*checkpoint = "
        r'"encoder_state_dict".*checkpoint = \["encoder_state_dict", "decoder_state_dict"\] takes them together$',
    ):
        from_torch(file, arch=both)
    with pytest.raises(
        ConvertError, match=r'starts with \'linear2.\'.*it is in the file at checkpoint = "decoder_state_dict"'
    ):
        from_torch(file, arch={**both, "checkpoint": "encoder_state_dict"})


def test_tied_weights_count_as_used_once() -> None:
    table = array(6, 3)
    tied = {"emb.weight": table, "copy.weight": table.copy()}
    arch = {"layer": [{"op": "embedding", "weights": "emb"}, *LSTM["layer"]]}
    graph = from_torch(state(**tied), arch=arch)
    assert notes(graph) == "one weight under two names: copy.weight is emb.weight"
    for other in (table + 1, np.zeros((6, 3), np.float32)):
        with pytest.raises(ConvertError, match=r"not used by any layer: copy.weight"):
            from_torch(state(**{**tied, "copy.weight": other}), arch=arch)


# -- numbers that are not finite, or too large -----------------------------------------------------


def test_weights_that_are_not_finite_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = state(**{"fc.weight": array(2, 5)})
    weights["lstm.weight_ih_l0"][3, 1:] = np.nan, -np.inf
    arch = {"layer": [*LSTM["layer"], {"op": "dense", "weights": "fc"}]}
    graph = from_torch(weights, arch=arch)
    named = "NaN or infinity in the weights: state dict: weight lstm.weight_ih_l0 (2 numbers);"
    assert notes(graph).startswith(named)
    assert "fc" not in notes(graph)
    torch = pytest.importorskip("torch")
    file = tmp_path / "m.pt"
    torch.save({k: torch.from_numpy(v).double() for k, v in weights.items()}, file)
    (tmp_path / "a.toml").write_text(
        '[[layer]]\nop = "lstm"\nweights = "lstm"\n[[layer]]\nop = "dense"\nweights = "fc"\n'
    )
    assert main(["convert", str(file), "--arch", str(tmp_path / "a.toml"), "-o", str(tmp_path / "m.lrt")]) == 0
    said = "".join(capsys.readouterr())
    assert "self-test: left out, because weights of the model are not finite" in said
    assert named.replace("state dict", "m.pt") in said


def test_finite_numbers_beyond_float32_are_an_error(tmp_path: Path) -> None:
    weights = {k: v.astype(np.float64) for k, v in state().items()}
    weights["lstm.weight_hh_l0"][2, 1] = -1e300
    weights["lstm.weight_hh_l0"][0, 0] = np.nan
    message = "weight lstm.weight_hh_l0: holds -1e[+]300, which is beyond float32"
    with pytest.raises(ConvertError, match=message):
        from_torch(weights, arch=LSTM)
    torch = pytest.importorskip("torch")
    tensors = {k: torch.from_numpy(v) for k, v in weights.items()}
    with pytest.raises(ConvertError, match=message):
        from_torch(tensors, arch=LSTM)
    torch.save(tensors, tmp_path / "m.pt")
    pytest.importorskip("safetensors.torch").save_file(tensors, tmp_path / "m.safetensors")
    for name in ("m.pt", "m.safetensors"):
        with pytest.raises(ConvertError, match=f"{name}: {message}"):
            from_torch(tmp_path / name, arch=LSTM)


# -- which of several ------------------------------------------------------------------------------


def chosen(tree: Any, key: str | None = None) -> Checkpoint:
    return from_mapping(tree, key)


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"model": state(), "best_model": state()}, "best_model"),
        ({"last": state(), "best": state()}, "best"),
        ({"a": state(), "modelBest": state()}, "modelBest"),
        ({"not_best": state(), "second_best": state(), "2nd-best": state(), "BEST": state()}, "BEST"),
        ({"a": state(), "the_best": state(), "worstBest": state()}, "the_best"),
        ({"model": state(), "ema": state(), "best_model": state(), "epoch": 3}, "best_model"),
        ({"state_dict": state(), "discriminator": state(7)}, "state_dict"),
        ({"model": {"state_dict": state()}, "critic": [state(7)]}, "model.state_dict"),
        ({"params": {"lr": 0.1}, "mine": state()}, "mine"),
        ({"step": np.float32(3), "class_weights": array(4), "model": {"type": "lstm"}, "state": state()}, "state"),
        ([{"history": [1.0]}, (state(), {"mean": 0.0})], "1.0"),
    ],
)
def test_the_one_that_is_meant(tree: Any, key: str) -> None:
    found = chosen({"tree": tree} if isinstance(tree, list) else tree)
    assert found.key.removeprefix("tree.") == key
    assert set(found.tensors) == set(state())
    several = sum("lstm.weight_ih_l0" in str(v) for v in (tree.values() if isinstance(tree, dict) else ())) > 1
    assert bool(found.notes) == several


TOSS_UPS = [
    ("model", "ema"), ("state_dict", "teacher"), ("a", "b"), ("best_ema", "best_model"), ("model", "model_ema"),
    ("model", "not_best"), ("a", "second_best"), ("a", "unbest"),
]  # fmt: skip


@pytest.mark.parametrize("others", TOSS_UPS)
def test_a_toss_up_is_an_error_that_says_how_to_choose(others: tuple[str, str]) -> None:
    tree = {name: state() for name in others}
    with pytest.raises(ConvertError, match=rf"several copies of the same weights \({others[0]}, {others[1]}\); choose"):
        chosen(tree)
    for name in others:
        found = chosen(tree, name)
        np.testing.assert_array_equal(
            found.tensors["lstm.bias_ih_l0"].array(""), tree[name]["lstm.bias_ih_l0"]
        )
        assert found.notes == []


def test_two_networks_in_a_list_are_a_toss_up() -> None:
    with pytest.raises(ConvertError, match=r'several sets of weights \(pair.0, pair.1\).*checkpoint = "pair.0"'):
        chosen({"pair": [state(), state(7)]})


def test_optimisers_and_the_same_weights_twice_are_no_second_set() -> None:
    weights = state()
    optimiser = {"state": {0: {"weight": array(20, 3)}}, "param_groups": [{"lr": 0.1}]}
    found = chosen({"optimizer": optimiser, "optimizer_states": [optimiser], "mine": weights})
    assert (found.key, found.notes, found.beside) == ("mine", [], {})


def test_one_module_under_two_keys(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 5)
    torch.save({"model": module, "state_dict": module.state_dict()}, tmp_path / "m.pt")
    found = read_checkpoint(tmp_path / "m.pt")
    assert (found.key, found.notes) == ("state_dict", [])
    torch.save({"a": module.state_dict(), "b": module.state_dict()}, tmp_path / "m.pt")
    found = read_checkpoint(tmp_path / "m.pt")
    assert (found.key, found.notes) == ("a", [])


def test_keys_with_dots_positions_and_names_that_do_not_exist() -> None:
    tree = {"callbacks": {"EMA{'decay': 0.9}": {"w.x": state()}}, "list": [state(7), state()], "epoch": 1}
    assert set(chosen(tree, "callbacks.EMA{'decay': 0.9}.w.x").tensors) == set(state())
    assert chosen(tree, "callbacks").key == "callbacks.EMA{'decay': 0.9}.w.x"
    assert chosen(tree, "list.1").tensors["lstm.bias_ih_l0"].shape == (20,)
    with pytest.raises(ConvertError, match=r"'calbacks' does not exist; there is .*did you mean 'callbacks'\?"):
        chosen(tree, "calbacks")
    with pytest.raises(ConvertError, match=r"no weights at checkpoint = 'epoch'; there are some at list.0, list.1"):
        chosen(tree, "epoch")


def test_arrays_in_pickles_of_numpy(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weights = state(order=np.asfortranarray(array(4, 6)), big=array(3).astype(">f4"), ids=np.arange(3))
    torch.save({"mine": weights, "mean": array(3).astype(np.float64)}, tmp_path / "m.pt")
    found = read_checkpoint(tmp_path / "m.pt")
    for name, value in weights.items():
        if name != "ids":
            np.testing.assert_array_equal(found.tensors[name].array(name), value, err_msg=name)
    arch = {**LSTM, "ignore": ["order", "big", "ids"]}
    assert notes(from_torch(tmp_path / "m.pt", arch=arch)) == "arrays beside the weights are not used: mean (3,)"


def test_objects_are_looked_into(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = types.ModuleType("gone")
    exec("class Trainer: pass", module.__dict__)
    module.Trainer.__module__ = "gone"
    sys.modules["gone"] = module
    try:
        trainer = module.Trainer()
        trainer.net = {k: torch.tensor(v) for k, v in state().items()}
        torch.save([1, {"trainer": trainer}], tmp_path / "m.pt")
    finally:
        del sys.modules["gone"]
    found = read_checkpoint(tmp_path / "m.pt")
    assert (found.key, set(found.tensors)) == ("1.trainer.net", set(state()))
    assert len(from_torch(tmp_path / "m.pt", arch={**LSTM, "checkpoint": "1.trainer"}).nodes) == 1


def test_an_arch_with_only_a_key_chooses_between_modules(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nets = {n: torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, k)) for n, k in (("a", 4), ("b", 5))}
    torch.save(nets, tmp_path / "m.pt")
    graph = from_torch(tmp_path / "m.pt", arch={"checkpoint": "b"})
    assert graph.values[graph.outputs[0]].size == 5
    with pytest.raises(ConvertError, match=r"there is no \[\[layer\]\]"):
        from_torch(tmp_path / "m.pt", arch={"checkpoint": "b", "ignore": ["x"]})


def test_weights_only_errors_name_the_live_route_and_the_key() -> None:
    tree = {"model": state(), "best_model": state()}
    with pytest.raises(ConvertError, match=r"from_torch\(module, example\)(.*\n)*checkpoint = \"best_model\""):
        from_torch(tree)
    with pytest.raises(ConvertError, match="the arrays in it have no names"):
        from_torch({"list": [array(2, 3)]})


# -- forms -----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_forms_of_torch(tmp_path: Path) -> None:
    """Every form that torch.nn.utils writes, against the weight that the module computes with."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.nn.utils.prune")
    nn, utils = torch.nn, torch.nn.utils
    new = utils.parametrizations
    made = {
        "old norm": utils.weight_norm(nn.Linear(5, 4)),
        "old norm, columns": utils.weight_norm(nn.Linear(5, 4), dim=1),
        "old norm, whole": utils.weight_norm(nn.Linear(5, 4), dim=None),
        "old norm of one row": utils.weight_norm(nn.Linear(5, 1)),
        "old norm of one column": utils.weight_norm(nn.Linear(1, 5)),
        "new norm": new.weight_norm(nn.Linear(5, 4)),
        "new norm, whole": new.weight_norm(nn.Linear(5, 4), dim=None),
        "old spectral": utils.spectral_norm(nn.Linear(5, 4)),
        "new spectral": new.spectral_norm(nn.Linear(5, 5)),
        "pruned": utils.prune.l1_unstructured(nn.Linear(5, 4), "weight", 0.5),
    }
    for name, module in made.items():
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(torch.rand_like(p) + 0.5)
            module.train()(torch.randn(2, module.in_features))  # spectral norm takes a step
            module.eval()(torch.randn(2, module.in_features))  # hooks compute the weight
        torch.save({f"fc.{k}": v for k, v in module.state_dict().items()}, tmp_path / "m.pt")
        found = read_checkpoint(tmp_path / "m.pt")
        assert set(found.tensors) == {"fc.weight", "fc.bias"}, name
        assert len(found.notes) == 1, name
        np.testing.assert_allclose(
            found.tensors["fc.weight"].array(""), module.weight.detach().numpy(), atol=1e-6, err_msg=name
        )


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_forms_in_pickled_modules(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.utils.weight_norm(torch.nn.Linear(5, 4)), torch.nn.Tanh())
    x = torch.randn(3, 5)
    want = module(x).detach().numpy()
    torch.save(module, tmp_path / "m.pt")
    graph = from_torch(tmp_path / "m.pt")
    np.testing.assert_allclose(reference.run(graph, [x.numpy()])[0], want, atol=1e-6)
    assert notes(graph) == "weight norm is computed into the weights: 0.weight"


def test_forms_that_only_code_can_undo(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(4, 4))
    torch.save({f"fc.{k}": v for k, v in module.state_dict().items()}, tmp_path / "m.pt")
    arch = {"layer": [{"op": "dense", "weights": "fc"}]}
    with pytest.raises(ConvertError, match=r"'fc.weight': it is stored as fc.*original.*remove_parametrizations"):
        from_torch(tmp_path / "m.pt", arch=arch)


def test_shapes_that_are_not_those_of_the_form() -> None:
    weights = {"fc.weight_g": array(3, 1), "fc.weight_v": array(4, 5)}
    with pytest.raises(ConvertError, match=r"weight_v \(4, 5\) and fc.weight_g \(3, 1\) are not those of weight norm"):
        from_torch(weights, arch={"layer": [{"op": "dense", "weights": "fc"}]})
    with pytest.raises(ConvertError, match=r"expected the same shape, as weight drop writes"):
        from_torch(state(**{"lstm.weight_hh_l0_raw": array(3, 5)}), arch=LSTM)


def test_names_that_only_look_like_forms_stay() -> None:
    shapes = {"a.weight_v": (2, 3), "b.mask": (2,), "c.weight": (2, 2), "c.weight_g": (2,), "c.weight_v": (2, 2)}
    assert list(from_mapping({n: array(*s) for n, s in shapes.items()}).tensors) == list(shapes)
    assert fold({}).tensors == {}


# -- learned initial states ------------------------------------------------------------------------


def test_a_learned_initial_state_is_not_dropped() -> None:
    stored = case("uisrnn_learned_initial_state")
    folder = stored.folder
    with pytest.raises(ConvertError, match=r'rnn_init_hidden \(1, 1, 6\).*h0 = "rnn_init_hidden".*state= at run time'):
        from_torch(folder / "saved_model.uisrnn", arch=folder / "arch.toml")
    with pytest.raises(ConvertError, match=r'h0 \(1, 1, 6\).*seems to be an initial state: h0 = "h0"'):
        from_torch(folder / "h0_inside.pt", arch=folder / "arch.toml")
    layers = [
        {"op": "gru", "weights": "gru"},
        {"op": "dense", "weights": "linear_mean1", "activation": "relu"},
        {"op": "dense", "weights": "linear_mean2"},
    ]
    with_state = [{**layers[0], "h0": "rnn_init_hidden"}, *layers[1:]]
    graph = from_torch(folder / "saved_model.uisrnn", arch={"layer": with_state})
    assert notes(graph) == "arrays beside the weights are not used: sigma2 (4,)"
    close(graph, "uisrnn_learned_initial_state", "b3")
    assert not Model(dumps(graph)).can_stream

    plain = from_torch(folder / "saved_model.uisrnn", arch={"layer": layers, "ignore": ["rnn_init_hidden"]})
    h0 = read_checkpoint(folder / "saved_model.uisrnn").beside["rnn_init_hidden"].array("")
    ((ins, outs),) = stored.runs("b3")
    stored.close(Model(dumps(plain))(ins["x"], state=np.repeat(h0, 3, axis=1)), outs["y"])


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_initial_states_of_stacks_against_torch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, kind)(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    h, c = torch.randn(4, 1, 4), torch.randn(4, 1, 4)
    x = torch.randn(2, 6, 3)
    rows = (h.repeat(1, 2, 1), c.repeat(1, 2, 1))
    want = module(x, rows if kind == "LSTM" else rows[0])[0].detach().numpy()
    extra = {"start.h": h, "start.c": c} if kind == "LSTM" else {"start.h": h}
    layer = {"op": kind.lower(), "weights": "rec", "h0": "start.h"}
    if kind == "LSTM":
        layer["c0"] = "start.c"
    weights = {**{f"rec.{k}": v for k, v in module.state_dict().items()}, **extra}
    got = Model(dumps(from_torch(weights, arch={"layer": [layer]})))(x.numpy())
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
    ("array_", "name", "message"),
    [
        (array(2, 1, 5), "h0", r"the array 'h0' has shape \(2, 1, 5\), expected \(1, 1, H\)"),
        (array(1, 3, 5), "h0", r"has shape \(1, 3, 5\), expected \(1, 1, H\).*the same for the whole batch"),
        (array(1, 1, 4), "h0", r"h0 has 4 features, expected 5"),
        (array(1, 1, 5), "h_0", r"no value and no array 'h_0'; there is x, .*did you mean 'h0'\?"),
    ],
)
def test_wrong_initial_states(array_: np.ndarray, name: str, message: str) -> None:
    layer = {**LSTM["layer"][0], "h0": name}
    with pytest.raises(ConvertError, match=message):
        from_torch(state(h0=array_), arch={"layer": [layer]})


# -- wrappers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "module.{}", "_orig_mod.{}", "module._orig_mod.{}", "_module.{}", "_fsdp_wrapped_module.{}",
        "_fsdp_wrapped_module._orig_mod.{}", "_checkpoint_wrapped_module._fsdp_wrapped_module.{}",
    ],
)  # fmt: skip
def test_what_wrappers_put_into_names(name: str) -> None:
    """Before them, or around a module within: ``lstm._orig_mod.weight_ih_l0``."""
    graph = from_torch({name.format(k): v for k, v in state().items()}, arch=LSTM)
    assert "notes" not in graph.meta
    within = name.removeprefix("module.").removeprefix("_module.").format("weight_ih_l0").removesuffix("weight_ih_l0")
    assert from_torch({k.replace("lstm.", f"lstm.{within}"): v for k, v in state().items()}, arch=LSTM).outputs


def test_names_that_only_look_like_wrappers() -> None:
    """``net.module`` may be what a network calls its own."""
    weights = {f"net.module.{k}": v for k, v in state(my_orig_mod=array(2)).items()}
    arch = {"ignore": ["net.module.my_orig_mod"], "layer": [{"op": "lstm", "weights": "net.module.lstm"}]}
    assert "notes" not in from_torch(weights, arch=arch).meta


def test_whole_numbers_that_count_are_no_weights() -> None:
    counted = {"n_averaged": np.array(7), "norm.num_batches_tracked": np.array(3.0), "flag": np.array(True)}
    assert from_torch(state(**counted), arch=LSTM).outputs
    for name, left in (("version", np.array(3.0, np.float32)), ("ids", np.arange(3))):
        with pytest.raises(ConvertError, match=f"1 weight is not used by any layer: {name} "):
            from_torch(state(**{name: left}), arch=LSTM)
