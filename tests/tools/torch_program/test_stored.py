"""Small programs that torch has saved, read where torch is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import fails
from lstm_rt_tools import from_torch
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.row import Options
from lstm_rt_tools.torch_reader import reader

import lstm_rt
from lstm_rt import Model
from lstm_rt.format import dumps

DATA = Path(__file__).parents[2] / "data" / "torch_programs"
FILES = sorted(p for p in DATA.iterdir() if p.suffix in (".pt", ".pt2"))


def arrays(path: Path, kind: str) -> list[np.ndarray]:
    with np.load(path.with_suffix(".npz")) as stored:
        found = [stored[k] for k in sorted(stored.files) if k.startswith(kind)]
    return [a.astype(np.int32) if a.dtype == np.int64 else a for a in found]


def test_all_are_there() -> None:
    assert len(FILES) == 8


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_stored_program(path: Path) -> None:
    graph = from_torch(path)
    ours = Model(dumps(graph))(*arrays(path, "in"))
    for mine, want in zip(ours if isinstance(ours, tuple) else (ours,), arrays(path, "out"), strict=True):
        assert mine.shape == want.shape
        np.testing.assert_allclose(mine, want, rtol=1e-5, atol=1e-5)
    assert graph.selftest is not None


def test_nothing_of_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from lstm_rt_tools import from_torch\n"
        f"from_torch({str(FILES[0])!r})\n"
        "assert not any(m.partition('.')[0] == 'torch' for m in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = DATA / "packed_steps.pt"
    assert main(["convert", str(source), "-o", str(tmp_path / "m.lrt")]) == 0
    assert "the model packs sequences by their lengths" in capsys.readouterr().out
    model = lstm_rt.load(tmp_path / "m.lrt")
    x, lengths = arrays(source, "in")
    np.testing.assert_allclose(model(x, lengths=lengths), arrays(source, "out")[0], atol=1e-5)
    assert main(["verify", str(tmp_path / "m.lrt"), "--against", str(source)]) == 0
    assert "its own program, operation by operation in NumPy" in capsys.readouterr().out


def test_a_rerun_names_what_differs(tmp_path: Path) -> None:
    graph = from_torch(DATA / "crnn.pt")
    other = from_torch(DATA / "packed.pt")
    again = reader.rerun(DATA / "crnn.pt", graph, Options())
    assert again.outputs[0].shape[:2] == again.inputs[0].shape[:2]
    with pytest.raises(lstm_rt.errors.ConvertError, match="has no inputs lengths, which the model has"):
        reader.rerun(DATA / "crnn.pt", other, Options())


def test_an_exported_program_takes_no_arch_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arch = tmp_path / "arch.toml"
    arch.write_text('[[input]]\nname = "x"\nkind = "vec"\n[[layer]]\nop = "dense"\nweights = "fc"\n')
    told = fails(capsys, "convert", DATA / "states.pt2", "--arch", arch)
    assert "a torch.export archive (.pt2), which holds its own graph: it takes no arch file" in told


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("name", ["packed.pt", "states.pt2"])
def test_truncated_files_are_refused(name: str, cut: float, tmp_path: Path) -> None:
    data = (DATA / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(lstm_rt.errors.ConvertError, match=r"damaged|truncated"):
        from_torch(tmp_path / name)
