"""The benchmarks do what they say: the same model for every engine, rounds that pair up, sane reports."""

import json
import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.programs import python
from lstm_rt_tools import readers
from lstm_rt_tools.judges import reference
from lstm_rt_tools.row import Options

import lstm_rt
from lstm_rt.format import loads_graph
from lstm_rt.ops import OPS

FOLDER = ROOT / "benchmarks"
sys.path.insert(0, str(FOLDER))

import report  # noqa: E402
import rtneural  # noqa: E402
import silence  # noqa: E402
import worker  # noqa: E402
from bounds import bound_us, flop, phases, roofline_for, weight_bytes  # noqa: E402
from engines import ENGINES, Unavailable, build, exact_results  # noqa: E402
from results import Entry, Report, Result, Spread, Timing, as_json, from_json, ratio  # noqa: E402
from roofline import CFLAGS, SOURCE, Meter, Roofline, RooflineError, compiler, higher, parse  # noqa: E402
from workloads import INTEGERS, WORKLOADS, EngineName, Workload  # noqa: E402

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
    return python(FOLDER / name, *options, timeout=300)


@pytest.mark.parametrize("w", SMALL, ids=lambda w: w.name)
@pytest.mark.parametrize("name", [e for e in ENGINES if e not in ("lstm_rt", "torch")])
def test_engines_agree(name, w):
    """torch, whose threads and modes are set for a whole process, is compared in a process of its own."""
    try:
        runner = build(name, w, threads=1)
    except (ImportError, Unavailable) as e:  # litert has files for the workloads only
        pytest.skip(str(e))
    calls = w.calls()
    want = build("lstm_rt", w, threads=1).results(calls)
    assert want.shape == (w.batch, w.steps * len(calls), w.outputs)
    assert 0.1 < want.std() < 1
    for _ in range(2):  # the second time: does reset() clear the state?
        np.testing.assert_allclose(runner.results(calls), want, atol=1e-5)


@pytest.mark.parametrize("w", SMALL, ids=lambda w: w.name)
@pytest.mark.parametrize(("name", "atol"), [("torch", 1e-5), ("torch@int8", 3e-2)])
def test_torch_agrees(name, atol, w):
    with worker.Worker(name, w, 1, None) as torch:
        torch.wait_ready()
        if torch.missing:
            pytest.skip(torch.missing)
        want = build("lstm_rt", w, threads=1).results(w.calls())
        for _ in range(2):
            np.testing.assert_allclose(torch.check(), want, atol=atol)


@pytest.mark.parametrize("w", [replace(w, inputs=12, hidden=20) for w in SMALL], ids=lambda w: w.name)
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("lstm_rt", 0, 1e-5),
        ("lstm_rt@int16", 1e-6, 3e-4),
        ("lstm_rt@int8", 1e-4, 2e-2),
        ("lstm_rt@int8/8", 1e-4, 3e-2),
        ("onnxruntime@int8", 1e-4, 3e-2),
    ],
)
def test_integers_are_near_the_exact_results(name, least, most, w):
    if name.startswith("onnxruntime"):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        if w.cell == "gru":
            with pytest.raises(Unavailable, match="no gru with int8 weights"):
                build(name, w, threads=1)
            return
    runner = build(name, w, threads=1)
    exact = exact_results(w)
    for _ in range(2):
        apart = np.abs(runner.results(w.calls()) - exact).max()
        assert least < apart < most
    whole = build("lstm_rt", w, threads=1).nbytes
    assert name == "lstm_rt" or 0 < runner.nbytes < whole


def test_names_of_engines():
    assert EngineName.of("lstm_rt") == ("lstm_rt", "float32", "")
    assert EngineName.of("lstm_rt:avx2") == ("lstm_rt", "float32", "avx2")
    assert EngineName.of("lstm_rt@int8/8:avx2vnni") == ("lstm_rt", "int8/8", "avx2vnni")
    assert [EngineName.of(f"torch@{dtype}").has_integers for dtype in (*INTEGERS, "float32")] == [True] * 3 + [False]


def test_a_worker_that_dies():
    with worker.Worker("lstm_rt", SMALL[0], 1, None) as w:
        w.wait_ready()
        assert len(w.run(1, 3)) == 3
        w._process.kill()
        w._process.join()
        with pytest.raises(worker.WorkerError, match="the process died"):
            w.run(1, 3)


@pytest.mark.parametrize("name", ENGINES)
def test_weights_that_an_engine_does_not_have(name):
    with pytest.raises((Unavailable, ImportError), match=r"no int4 weights, only float32|No module"):
        build(f"{name}@int4", SMALL[0], threads=1)


def test_forced_table_is_the_one_that_runs():
    for table in lstm_rt.kernels():
        assert build(f"lstm_rt:{table}", SMALL[0], threads=1).version.endswith(table)
    with pytest.raises(Unavailable, match="no kernel table 'abacus'"):
        build("lstm_rt:abacus", SMALL[0], threads=1)


# -- bounds ---------------------------------------------------------------------------------------


def a_roofline(threads=1, isa="avx512", peak=100.0):
    """400 GB/s up to 64 KiB, 10 GB/s from 1 MiB on."""
    return Roofline(isa, threads, peak, (8192, 65536, 1048576, 268435456), (400.0, 400.0, 10.0, 10.0))


def test_work():
    """By hand: two layers, 4 gates of 64 units, 16 then 64 inputs, two biases."""
    w = WORKLOADS["sensor"]
    entries = 256 * (16 + 64) + 256 * (64 + 64)
    assert weight_bytes(w) == 4 * (entries + 4 * 256) == sum(a.nbytes for a in w.weights().values())
    assert flop(w) == 2 * entries * 100


def test_bound_of_a_sequence():
    """By hand: each step reads 64 KiB at 400 GB/s, longer than its 2 * 16384 FLOP at 1000 GFLOP/s take. The input's
    products are bound by arithmetic (5.2 MFLOP of 100 steps; the second layer: by its 3.3 MFLOP)."""
    roofline = a_roofline(peak=1000.0)
    model = 4 * (256 * 16 + 256 * 64 + 2 * 256 * 64)
    read = roofline.bandwidth(model)
    want_ns = max(4 * 256 * 16 / read, 2 * 256 * 16 * 100 / 1000) + max(4 * 256 * 64 / read, 2 * 256 * 64 * 100 / 1000)
    want_ns += 2 * 100 * 65536 / 400
    assert bound_us(WORKLOADS["sensor"], roofline) == pytest.approx(want_ns / 1e3)
    assert bound_us(WORKLOADS["sensor"], a_roofline(peak=1.0)) == pytest.approx(flop(WORKLOADS["sensor"]) / 1e3)


def test_bound_of_a_step():
    """By hand: 512 KiB of weights, all read once, halfway between the sizes around it by three quarters."""
    rate = 400 + 0.75 * (10 - 400)
    assert bound_us(WORKLOADS["vad_step"], a_roofline(peak=1e6)) == pytest.approx(2**19 / rate / 1e3)


def test_one_thread_keeps_one_direction_near():
    tagger = WORKLOADS["tagger"]
    w_hh = 4 * 1024 * 256
    assert [(p.resident, p.read) for p in phases(tagger, 1)] == [(4 * w_hh, 2 * w_hh), (w_hh, 50 * 2 * w_hh)]
    assert phases(tagger, 2)[1].resident == 2 * w_hh


def test_bound_of_other_types():
    small = Workload("small", "lstm", 16, 64, steps=100, dtype="float16")
    assert [p.read for p in phases(small, 1)] == [2 * 256 * 16, 2 * 256 * 64 * 100]
    int8 = Workload("tiny", "lstm", 16, 64, steps=100, dtype="int8")
    assert weight_bytes(int8) == 256 * (16 + 64) + 4 * 2 * 256
    assert bound_us(int8, a_roofline()) is None  # the peak is that of float32


def test_engines_are_held_against_their_instruction_set():
    limits = {isa: a_roofline(isa=isa) for isa in ("avx512", "avx2", "portable")}
    isas = {e: roofline_for(e, limits).isa for e in ("torch", "lstm_rt", "lstm_rt:avx2", "lstm_rt:nofma")}
    assert isas == {"torch": "avx512", "lstm_rt": "avx512", "lstm_rt:avx2": "avx2", "lstm_rt:nofma": "portable"}
    assert roofline_for("lstm_rt:neon", limits) is None
    assert roofline_for("torch", {}) is None


# -- the roofline ---------------------------------------------------------------------------------


def need_compiler():
    if platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
        pytest.skip(f"roofline.c does not know {platform.machine()}")
    try:
        return compiler()
    except RooflineError as e:
        pytest.skip(str(e))


def test_bandwidth_between_sizes():
    r = Roofline("avx2", 1, 50.0, (1024, 4096, 16384), (300.0, 90.0, 100.0))
    assert r.bandwidth(1) == r.bandwidth(1024) == 300
    assert r.bandwidth(2048) == pytest.approx(200)  # halfway along the logarithms, to the 100 of the larger set
    assert r.bandwidth(4096) == r.bandwidth(1 << 30) == 100


def test_higher_takes_the_larger_of_each():
    a, b = (Roofline("avx2", 1, peak, (1, 2), rates) for peak, rates in ((50.0, (3.0, 1.0)), (40.0, (2.0, 2.0))))
    assert higher(a, b) == higher(b, a) == Roofline("avx2", 1, 50.0, (1, 2), (3.0, 2.0))


def test_parse_takes_the_best_repetition():
    found = parse("peak avx2 1 3 2\nread avx2 8192 5 4\nread avx2 16384 1 2\npeak portable 1\n", 2)
    assert found["avx2"] == Roofline("avx2", 2, 3.0, (8192, 16384), (5.0, 2.0))
    assert list(found) == ["avx2", "portable"]


def test_program_compiles_without_warnings(tmp_path):
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
    command = [*need_compiler(), *CFLAGS, *warnings, str(SOURCE), "-o", str(tmp_path / "roofline")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Two threads, on whatever CPUs there are; arguments that are wrong.
    two = subprocess.run([tmp_path / "roofline", "2", "2", "50", "8192", "8192", "2"], capture_output=True, text=True)
    assert two.returncode == 0, two.stderr
    assert all(r.peak > 0 and r.sizes == (8192,) for r in parse(two.stdout, 2).values())
    wrong = subprocess.run([tmp_path / "roofline", "0", "2", "50", "8192", "8192", "2"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert "expected 1 to 64 threads" in wrong.stderr


def test_measurement():
    need_compiler()
    with Meter(quick=True) as meter:
        found = meter.measure(1)
        assert list(found)[-1] == "portable"
        assert list(meter.measure(1, ["portable"])) == ["portable"]
    for r in found.values():
        assert np.isfinite([r.peak, *r.rates]).all()
        assert min(r.peak, *r.rates) > 0
        assert r.sizes[0] <= 8192
        assert r.sizes[-1] >= 64 << 20


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -O9")
    with pytest.raises(RooflineError, match="no C compiler: no-such-compiler not found"), Meter():
        pass


# -- reports --------------------------------------------------------------------------------------

ENVIRONMENT = {
    "cpu": "a CPU", "cpus": 2, "caches": {}, "system": "Linux", "python": "3", "packages": {},
    "load_before": None, "rounds": 3, "round_ms": 10,
}  # fmt: skip


def an_entry(engine, *rounds):
    return Entry(engine, timing=Timing.of([[ns, ns] for ns in rounds]))


def a_report(limits=True):
    """amp with one and two threads: ours gets faster, the rival slower."""
    results = []
    for threads, ours, rival in ((1, 100_000, 150_000), (2, 80_000, 300_000)):
        entries = [
            an_entry("lstm_rt", ours, ours, ours), an_entry("lstm_rt:avx2", 2 * ours, 2 * ours, 2 * ours),
            an_entry("torch", rival, rival, rival), Entry("gone", missing="not here"),
        ]  # fmt: skip
        measured = {isa: a_roofline(threads, isa) for isa in ("avx512", "avx2")}
        results.append(Result(WORKLOADS["amp"], threads, entries, [measured, measured] if limits else []))
    return Report(ENVIRONMENT | {"no_bounds": "" if limits else "no C compiler"}, results)


def rows(table):
    head, body = table
    return [dict(zip(head, row, strict=True)) for row in body]


def test_ratio_pairs_rounds():
    """A round in which everything was slow does not change the ratio."""
    ours = an_entry("lstm_rt", 1000, 9000, 1000)
    rival = an_entry("rival", 2000, 18000, 2000)
    slow = an_entry("slow", 5000, 50000, 5000)
    result = Result(SMALL[0], 1, [slow, rival, ours, Entry("gone", missing="not here")])
    assert ratio(rival, ours) == Spread(2, 2, 2)
    assert result.best_rival() is rival
    assert result.ours() is ours


def test_shares_of_the_bound():
    found = a_report()
    least = bound_us(WORKLOADS["amp"], a_roofline())
    ours, avx2, rival, gone = rows(report.times_table(found))[:4]
    assert ours["of bound"] == f"{least:.0f}%"  # of 100 us
    assert avx2["of bound"] == f"{least / 2:.0f}%"
    assert rival["of bound"] == f"{least / 1.5:.0f}%"
    assert (gone["us per call"], gone["of bound"]) == ("missing", "-")
    assert rows(report.ratios_table(found, "lstm_rt"))[0]["of bound"] == ours["of bound"]


def test_each_table_has_its_ratios():
    found = a_report()
    best, forced = (rows(report.ratios_table(found, e))[0] for e in found.our_engines())
    assert (best["ours us"], best["rival / ours"]) == ("100", "1.50")
    assert (forced["ours us"], forced["rival / ours"]) == ("200", "0.750")
    assert "## lstm_rt, forced to its avx2 kernels" in report.markdown(found)


def test_integers_have_a_table_of_their_own():
    found = a_report()
    mine, theirs = an_entry("lstm_rt@int8", 50_000, 50_000, 50_000), an_entry("torch@int8", 75_000, 75_000, 75_000)
    mine.max_error, theirs.max_error = 1e-3, 4e-3
    mine.nbytes = 12_300
    found.results[0].entries += [mine, theirs, an_entry("onnxruntime@int8", 90_000, 90_000, 90_000)]
    (row,) = rows(report.integers_table(found))
    assert (row["engine"], row["KB"], row["us"], row["lstm_rt / it"]) == ("lstm_rt@int8", "12.3", "50.0", "2.00")
    assert (row["best int8 rival"], row["rival / it"], row["max error / rival's"]) == ("torch@int8", "1.50", "0.250")
    assert rows(report.ratios_table(found, "lstm_rt"))[0]["best rival"] == "torch"
    assert [r["dtype"] for r in rows(report.times_table(found))[4:6]] == ["int8", "int8"]
    text = report.markdown(found)
    assert "## Weights of integers" in text
    assert "forced to its  kernels" not in text
    assert "## Weights of integers" not in report.markdown(a_report())
    assert found.results[0].bound_us("lstm_rt@int8") is None  # its arithmetic is not measured
    assert from_json(json.loads(json.dumps(as_json(found)))) == found


def test_rivals_at_their_best_number_of_threads():
    one, two = rows(report.threads_table(a_report()))
    assert (one["speed-up"], one["rival / ours"]) == ("-", "1.50")
    assert (two["speed-up"], two["its threads"], two["us"], two["rival / ours"]) == ("1.25", "1", "150", "1.88")


def test_report_without_a_roofline():
    found = a_report(limits=False)
    row = rows(report.ratios_table(found, "lstm_rt"))[0]
    assert (row["bound us"], row["of bound"]) == ("-", "-")
    for text in (report.text(found), report.markdown(found)):
        assert "bounds are not known: no C compiler" in text
        assert "What the machine can do" not in text


@pytest.mark.parametrize("limits", [True, False])
def test_json_round_trip(limits):
    found = a_report(limits)
    data = json.loads(json.dumps(as_json(found)))
    assert from_json(data) == found
    assert report.markdown(from_json(data)) == report.markdown(found)
    assert (data["results"][0]["engines"][0]["derived"]["share_of_bound"] is not None) == limits


def test_render_links_the_chart(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(as_json(a_report())))
    done = run_script(
        "render.py", tmp_path / "results.json", "-o", tmp_path / "page.md", "--chart", tmp_path / "pictures" / "a.svg"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.md").read_text() == report.markdown(a_report(), "pictures/a.svg")
    assert "(pictures/a.svg)" in report.markdown(a_report(), "pictures/a.svg")


@pytest.mark.parametrize("limits", [True, False])
def test_plot(tmp_path, limits):
    pytest.importorskip("matplotlib", reason="charts need matplotlib")
    (tmp_path / "results.json").write_text(json.dumps(as_json(a_report(limits))))
    pictures = []
    for name in ("a.svg", "b.svg"):
        done = run_script("plot.py", tmp_path / "results.json", "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        pictures.append((tmp_path / name).read_text())
    assert pictures[0] == pictures[1]
    assert all(text in pictures[0] for text in ("<svg", "amp", "lstm_rt:avx2", "torch", "100 µs"))
    assert ("bound of this machine" in pictures[0]) == limits


def test_plot_without_results(tmp_path):
    pytest.importorskip("matplotlib", reason="charts need matplotlib")
    (tmp_path / "results.json").write_text(json.dumps(as_json(a_report())))
    done = run_script("plot.py", tmp_path / "results.json", "-o", tmp_path / "a.svg", "--threads", 3)
    assert done.returncode == 1
    assert "no results of lstm_rt with 3 threads, expected one of [1, 2]" in done.stderr


def test_plot_of_errors(tmp_path):
    pytest.importorskip("matplotlib", reason="charts need matplotlib")
    path = tmp_path / "results.json"
    found = a_report()
    path.write_text(json.dumps(as_json(found)))
    done = run_script("plot.py", path, "-o", tmp_path / "a.svg", "--errors")
    assert done.returncode == 1
    assert "no integers with 1 threads beside lstm_rt: compare.py --integers measures them" in done.stderr
    found.results[0].entries[0].nbytes = 100
    found.results[0].entries += [
        Entry("lstm_rt@int8", timing=Timing.of([[50_000] * 2] * 3), rms_error=1e-3, nbytes=25),
        Entry("torch@int8", timing=Timing.of([[90_000] * 2] * 3), rms_error=2e-3, nbytes=30),
    ]
    path.write_text(json.dumps(as_json(found)))
    done = run_script("plot.py", path, "-o", tmp_path / "a.svg", "--errors")
    assert done.returncode == 0, done.stderr
    picture = (tmp_path / "a.svg").read_text()
    assert all(text in picture for text in ("<svg", "lstm_rt@int8", "torch@int8", "speed relative to lstm_rt"))


# -- scripts --------------------------------------------------------------------------------------


def test_compare_script(tmp_path):
    out = tmp_path / "out.json"
    text = tmp_path / "out.md"
    done = run_script(
        "compare.py", "--quick", "--rounds=2", "--workloads=amp,vad_step", "--engines=lstm_rt,lstm_rt:portable,nothing",
        "--json", out, "--markdown", text,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = from_json(json.loads(out.read_text()))
    assert [r.workload.name for r in found.results] == ["amp", "vad_step"]
    for r in found.results:
        ours, portable, nothing = r.entries
        assert len(ours.timing.round_medians_us) == len(portable.timing.round_medians_us) == 2
        assert portable.max_abs_diff < 1e-4
        assert 0 < ours.max_error < 1e-5
        assert 0 < ours.rms_error < ours.max_error
        assert nothing.missing
        assert not nothing.timing
        assert found.environment["no_bounds"] or 0 < r.share(ours) < 10
    assert "| vad_step | float32 | 1 | nothing | missing |" in text.read_text()


def test_compare_script_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    done = run_script("compare.py", "--quick", "--rounds=1", "--workloads=vad_step", "--engines=lstm_rt")
    assert done.returncode == 0, done.stderr
    assert "bounds are not known: no C compiler: no-such-compiler not found" in done.stdout


def test_compare_script_rejects_unknown_workloads():
    done = run_script("compare.py", "--workloads=amp,juggling")
    assert done.returncode == 2
    assert "no workload 'juggling'" in done.stderr


@pytest.mark.skipif(not hasattr(__import__("os"), "wait4"), reason="needs wait4")
def test_models_script(tmp_path):
    """Whole models from one ONNX file: both engines agree over states that are carried, and have their bounds."""
    for module in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(module)
    out = tmp_path / "out.json"
    options = ("--workloads", "denoise_step,romanise_step", "--engines", "lstm_rt,onnxruntime", "--quick")
    done = run_script("models.py", *options, "--json", out)
    assert done.returncode == 0, done.stdout + done.stderr
    for result in from_json(json.loads(out.read_text())).results:
        assert {e.engine: bool(e.timing) for e in result.entries} == {"lstm_rt": True, "onnxruntime": True}
        assert result.workload.states
        assert result.workload.memory > 0
        assert flop(result.workload) > 1e5


def test_models_script_rejects_unknown_workloads():
    pytest.importorskip("torch")
    assert "no workload 'nothing'; known: crnn" in run_script("models.py", "--workloads", "nothing").stderr


def test_overhead_script(tmp_path):
    out = tmp_path / "out.json"
    done = run_script("overhead.py", "--rounds", "2", "--json", out)
    assert done.returncode == 0, done.stderr
    assert all(0 < found["ns"] < 10000 for found in json.loads(out.read_text()).values())


def test_silence():
    """Blocks of each kind, also of a model that does not stream; what the C program is compiled of."""
    for name, tails in (("lstm, no bias", silence.TAIL), ("lstm, both directions, no bias", 0)):
        blocks = silence.in_python(silence.blob_of(silence.models()[name]), lstm_rt.kernels()[0], rounds=1)
        assert len(blocks) == 1 + len(silence.QUIET) + tails
        ratio, block = silence.worst(blocks)
        assert ratio >= 1
        assert block in blocks
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-fsyntax-only"]
    for program in ("silence.c", "c_path.c"):
        command = [*need_compiler(), "-std=c11", *warnings, f"-I{ROOT / 'src'}", str(FOLDER / program)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_rtneural_wants_its_source(tmp_path):
    done = run_script("rtneural.py", tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("no RTNeural/RTNeural.h in it, expected a checkout of RTNeural")


def test_rtneural_files_are_the_models(tmp_path):
    """What RTNeural is given is what the core computes, by the gates' equations in double precision."""
    for cell, inputs, hidden in rtneural.SIZES:
        (tmp_path / "m.json").write_text(json.dumps(rtneural.description(cell, inputs, hidden)))
        graph = readers.read(tmp_path / "m.json", Options())
        x = np.random.default_rng(1).uniform(-1, 1, (1, 20, inputs)).astype(np.float32)
        (want,) = reference.run(graph, [x])
        np.testing.assert_allclose(lstm_rt.Model(graph)(x), want, rtol=0, atol=1e-5)
        assert [(n.op, graph.values[n.outputs[0]].size) for n in graph.nodes] == [(cell, hidden), ("dense", 1)]


def test_silence_has_every_op():
    """But those that only move numbers, or that others of its models have."""
    made = {node.op for make in silence.models().values() for node in loads_graph(silence.blob_of(make)).nodes}
    moved = {"embedding", "mask_ids", "mask_values", "apply_mask", "concat", "select", "reverse", "take", "repeat"}
    moved |= {"gather", "pad", "flatten", "unflatten", "align", "cut", "constant"}
    assert made | moved == set(OPS)


def test_sparse_script():
    done = run_script("sparse.py", "--hidden", "20", "--batch", "1,3", "--shares", "0.1,0.5", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    kinds = [(weights, batch) for weights in ("float32", "int16", "int8") for batch in (1, 3)]
    assert [(row["weights"], row["batch"]) for row in rows] == kinds
    assert all(0 < gain < 100 for row in rows for gain in row["gain"])


def test_footprint_script(tmp_path):
    out = tmp_path / "out.json"
    done = run_script("footprint.py", "--repeat=1", "--engines=numpy,lstm_rt", "--json", out)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    numpy, ours = figures["first_result"]["numpy"], figures["first_result"]["lstm_rt"]
    assert 1 < numpy["peak_mib"] < ours["peak_mib"]
    assert ours["installed_bytes"] > 100_000
    assert 0 < figures["step_us"]["median"] < 1000
