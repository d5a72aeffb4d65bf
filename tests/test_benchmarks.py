"""The benchmarks do what they say: the same model for every engine, rounds that pair up, sane reports."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lstm_rt

FOLDER = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(FOLDER))

import report  # noqa: E402
import worker  # noqa: E402
from engines import ENGINES, Unavailable, build  # noqa: E402
from workloads import WORKLOADS, Workload, bound  # noqa: E402

SMALL = [
    Workload("layers", "lstm", 3, 5, layers=2, batch=2, steps=7),
    Workload("both ways", "lstm", 3, 5, layers=2, batch=2, steps=7, bidirectional=True),
    Workload("step", "lstm", 3, 5, layers=2, stateful=True),
    Workload("gru layers", "gru", 3, 5, layers=2, batch=2, steps=7),
    Workload("gru step", "gru", 3, 5, layers=2, stateful=True),
]


@pytest.fixture(autouse=True)
def keep_environment(monkeypatch):
    """build() sets the kernel table for its own process."""
    monkeypatch.setenv("LSTM_RT_KERNELS", "")


def run_script(name, *options):
    command = [sys.executable, str(FOLDER / name), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("w", SMALL, ids=lambda w: w.name)
@pytest.mark.parametrize("name", [e for e in ENGINES if e not in ("lstm_rt", "torch")])
def test_engines_agree(name, w):
    """torch, whose threads and modes are set for a whole process, is compared in a process of its own."""
    try:
        runner = build(name, w, threads=1)
    except ImportError as e:
        pytest.skip(str(e))
    calls = w.calls()
    want = build("lstm_rt", w, threads=1).results(calls)
    assert want.shape == (w.batch, w.steps * len(calls), w.outputs)
    assert 0.1 < want.std() < 1
    for _ in range(2):  # the second time: does reset() clear the state?
        np.testing.assert_allclose(runner.results(calls), want, atol=1e-5)


@pytest.mark.parametrize("w", SMALL, ids=lambda w: w.name)
def test_torch_agrees(w):
    with worker.Worker("torch", w, 1, None) as torch:
        torch.wait_ready()
        if torch.missing:
            pytest.skip(torch.missing)
        want = build("lstm_rt", w, threads=1).results(w.calls())
        for _ in range(2):
            np.testing.assert_allclose(torch.check(), want, atol=1e-5)


def test_a_worker_that_dies():
    with worker.Worker("lstm_rt", SMALL[0], 1, None) as w:
        w.wait_ready()
        assert len(w.run(1, 3)) == 3
        w._process.kill()
        w._process.join()
        with pytest.raises(worker.WorkerError, match="the process died"):
            w.run(1, 3)


def test_forced_table_is_the_one_that_runs():
    for table in lstm_rt.kernels():
        assert build(f"lstm_rt:{table}", SMALL[0], threads=1).version.endswith(table)
    with pytest.raises(Unavailable, match="no kernel table 'abacus'"):
        build("lstm_rt:abacus", SMALL[0], threads=1)


def test_bound():
    """By hand: two layers, 4 gates of 64 units, 16 then 64 inputs, two biases."""
    b = bound(WORKLOADS["sensor"])
    entries = 256 * (16 + 64) + 256 * (64 + 64)
    assert b.weight_bytes == 4 * (entries + 4 * 256)
    assert b.flop == 2 * entries * 100
    assert b.weight_bytes == sum(a.nbytes for a in WORKLOADS["sensor"].weights().values())


def test_ratio_pairs_rounds():
    """A round in which everything was slow does not change the ratio."""
    ours = report.Entry("lstm_rt", rounds=[[1000, 1000], [9000, 9000], [1000, 1000]])
    rival = report.Entry("rival", rounds=[[2000, 2000], [18000, 18000], [2000, 2000]])
    slow = report.Entry("slow", rounds=[[5000], [50000], [5000]])
    result = report.Result(SMALL[0], 1, [slow, rival, ours, report.Entry("gone", missing="not here")])
    assert report.ratio(rival, ours) == report.Spread(2, 2, 2)
    assert result.best_rival() is rival
    assert result.ours() is ours
    assert "| gone | missing |" in report.as_markdown(report.times_table([result]))


def test_compare_script(tmp_path):
    out = tmp_path / "out.json"
    text = tmp_path / "out.md"
    done = run_script(
        "compare.py", "--quick", "--rounds=2", "--workloads=amp,vad_step", "--engines=lstm_rt,lstm_rt:portable,nothing",
        "--json", out, "--markdown", text,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())["results"]
    assert [r["workload"] for r in results] == ["amp", "vad_step"]
    for r in results:
        ours, portable, nothing = r["engines"]
        assert len(ours["round_medians_us"]) == len(portable["round_medians_us"]) == 2
        assert portable["max_abs_diff"] < 1e-4
        assert nothing["missing"]
        assert not nothing["us_per_call"]
    assert "| vad_step | 1 | nothing | missing |" in text.read_text()


def test_compare_script_rejects_unknown_workloads():
    done = run_script("compare.py", "--workloads=amp,juggling")
    assert done.returncode == 2
    assert "no workload 'juggling'" in done.stderr


@pytest.mark.skipif(not hasattr(__import__("os"), "wait4"), reason="needs wait4")
def test_footprint_script(tmp_path):
    out = tmp_path / "out.json"
    done = run_script("footprint.py", "--repeat=1", "--engines=numpy,lstm_rt", "--json", out)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    numpy, ours = figures["first_result"]["numpy"], figures["first_result"]["lstm_rt"]
    assert 1 < numpy["peak_mib"] < ours["peak_mib"]
    assert ours["installed_bytes"] > 100_000
    assert 0 < figures["step_us"]["median"] < 1000
