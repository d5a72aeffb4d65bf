"""The runner sees what a device can do: fail, fault, hang, run out of stack; and it counts what is executed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.edge import CORTEX_M, DEVICES, EMULATED, built, ran

from edge.run import FAULT, TIMEOUT, BuildError, devices, main, missing

RUN = Path(__file__).parent / "run.py"


def source(folder: Path, body: str, before: str = "", name: str = "main.c") -> list[Path]:
    path = folder / name
    text = f"#include <stdio.h>\n#include <rig.h>\n{before}\nint main(void)\n{{\n{body}\n}}\n"
    path.write_text(text, encoding="utf-8")
    return [path]


@pytest.mark.parametrize("device", DEVICES)
def test_output_and_exit_code(device: str, tmp_path: Path) -> None:
    """Initialised data, zeroed data and floats are as C has them."""
    state = "static int set = 41;\nstatic int zero;\nstatic volatile float half = 0.5f;"
    body = r"""set += 1;
zero += 3;
printf("%d %d %g\n", set, zero, (double)(half * 3.0f));
fprintf(stderr, "and\n");
return 7;"""
    result = ran(device, source(tmp_path, body, state), tmp_path)
    assert (result.code, result.output, result.errors, result.fault) == (7, "42 3 1.5\n", "and\n", "")
    assert (result.stack > 0) is (device in EMULATED)


@pytest.mark.parametrize("device", DEVICES)
def test_a_fault_is_seen(device: str, tmp_path: Path) -> None:
    result = ran(device, source(tmp_path, 'printf("before\\n");\nfflush(stdout);\n__builtin_trap();'), tmp_path)
    assert (result.code, result.output) == (FAULT, "before\n")
    assert result.fault


@pytest.mark.parametrize("device", EMULATED)
def test_too_little_stack_is_seen(device: str, tmp_path: Path) -> None:
    deep = """static int deep(int n)
{
    volatile char b[1000];
    b[0] = (char)n;
    return n ? deep(n - 1) + b[0] : 0;
}"""
    result = ran(device, source(tmp_path, "return deep(1000);", deep), tmp_path)
    assert result.code == FAULT
    assert result.fault


@pytest.mark.parametrize("device", ["riscv32", "riscv64", "native-m32"])
def test_writing_to_flash_is_seen(device: str, tmp_path: Path) -> None:
    constant = "static const int table[2] = {1, 2};"
    body = "*(volatile int *)(size_t)&table[1] = 3;\nreturn table[1];"
    assert ran(device, source(tmp_path, body, constant), tmp_path).code == FAULT


def test_a_cortex_m0_faults_where_addresses_are_not_aligned(tmp_path: Path) -> None:
    before = "static char bytes[8];\nstatic volatile unsigned at = 1;"
    body = "*(volatile int *)(void *)(bytes + at) = 2;\nreturn 0;"
    assert "hard fault" in ran("cortex-m0", source(tmp_path, body, before), tmp_path).fault


@pytest.mark.parametrize("device", ["cortex-m4", "riscv32", "native-m32"])
def test_a_program_that_hangs_is_ended(device: str, tmp_path: Path) -> None:
    result = ran(device, source(tmp_path, "for (;;)\n    ;"), tmp_path, timeout=1)
    assert result.code == TIMEOUT
    assert result.fault == "it did not end in 1 s"


@pytest.mark.parametrize("device", EMULATED)
def test_instructions_are_counted_by_function(device: str, tmp_path: Path) -> None:
    """Between the marks; in an empty assembly loop we know how many."""
    work = """static __attribute__((noinline)) void work(int n)
{
    while (n--)
        __asm__ volatile("nop\\n nop\\n nop\\n nop\\n nop\\n nop\\n nop\\n nop\\n nop\\n nop");
}"""
    body = "work(50);\nrig_count_start();\nwork(1000);\nrig_count_stop();\nwork(70);\nreturn 0;"
    counts = ran(device, source(tmp_path, body, work), tmp_path, count=True).counts
    assert counts is not None
    assert 11 * 1000 <= counts["work"] <= 13 * 1000 + 8
    assert sum(counts.values()) - counts["work"] < 20
    body = body.replace("rig_count_start();", "").replace("rig_count_stop();", "")
    counts = ran(device, source(tmp_path, body, work), tmp_path, count=True).counts
    assert counts is not None
    assert 11 * 1120 <= counts["work"] <= 13 * 1120 + 24


@pytest.mark.parametrize("device", EMULATED)
def test_the_stack_of_a_call(device: str, tmp_path: Path) -> None:
    deep = """static void deep(void *p)
{
    volatile char b[400];
    b[0] = 1;
    b[399] = 2;
    *(int *)p = b[0];
}"""
    body = 'int x;\nprintf("%u\\n", (unsigned)rig_stack_of(deep, &x));\nreturn 0;'
    assert 400 <= int(ran(device, source(tmp_path, body, deep), tmp_path).output) <= 432


@pytest.mark.parametrize("device", EMULATED)
def test_sizes(device: str, tmp_path: Path) -> None:
    """Of what was to be built, without what is not used, as the object files have it."""
    data = """static const char table[1000] = {1};
static char zero[500];
static char set[300] = {1};
static volatile int at = 2;
"""
    unused = "int unused(int x);\nint unused(int x)\n{\n    return x * 3;\n}"
    body = "zero[at] = set[at] = 3;\nreturn table[at] + zero[at / 2] + set[at];"
    program = built(device, source(tmp_path, body, data + unused), tmp_path)
    by_section = {p.section: p for p in program.pieces() if p.object in program.own}
    assert by_section[".rodata.table"].flash == 1000
    assert (by_section[".bss.zero"].flash, by_section[".bss.zero"].ram) == (0, 500)
    assert (by_section[".data.set"].flash, by_section[".data.set"].ram) == (300, 300)
    assert ".text.unused" not in by_section
    assert 1304 < program.flash() < 1420
    assert 804 <= program.ram() <= 808
    assert program.flash(own=False) > program.flash()
    size = subprocess.run(["size", program.elf], capture_output=True, text=True, check=True).stdout
    text, data_size = size.splitlines()[1].split()[:2]
    assert abs(int(text) + int(data_size) - program.flash(own=False)) < 200  # padding belongs to nobody


@pytest.mark.parametrize("device", ["cortex-m4", "native-m32"])
def test_warnings_are_errors(device: str, tmp_path: Path) -> None:
    narrow = source(tmp_path, "volatile int x = 300;\nchar c = x;\nreturn c;")
    with pytest.raises(BuildError, match="conversion"):
        built(device, narrow, tmp_path)
    built(device, narrow, tmp_path, strict=False)


def test_cpp_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "part.h").write_text('#ifdef __cplusplus\nextern "C"\n#endif\nint part(void);\n', encoding="utf-8")
    (folder / "part.c").write_text('#include "part.h"\nint part(void)\n{\n    return 5;\n}\n', encoding="utf-8")
    main_file = tmp_path / "main.cpp"
    main_file.write_text('#include "part.h"\nint main()\n{\n    return part();\n}\n', encoding="utf-8")
    assert ran("cortex-m3", [main_file, folder], tmp_path).code == 5


# -- the command ------------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, RUN, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_command(tmp_path: Path) -> None:
    if lacks := missing(devices()["cortex-m4"]):
        pytest.skip(f"not on this machine, for cortex-m4: {', '.join(lacks)}")
    paths = source(tmp_path, 'printf("one\\n");\nreturn X;')
    done = command("--device", "cortex-m4", "--count", "--sizes", "--flags=-DX=3", *paths)
    assert (done.returncode, done.stdout) == (3, "one\n")
    assert "cortex-m4: exit 3; bytes: " in done.stderr
    assert " main\n" in done.stderr
    assert ".text.startup.main" in done.stderr
    done = command("--device", "cortex-m4", *paths)
    assert done.returncode == 2
    assert "'X' undeclared" in done.stderr.replace("‘", "'").replace("’", "'")
    done = command("--device", "cortex-m4", "--timeout=1", *source(tmp_path, "for (;;)\n    ;"))
    assert done.returncode == TIMEOUT
    done = command("--device", "cortex-m4", *source(tmp_path, "__builtin_trap();"))
    assert done.returncode == FAULT


def test_what_cannot_be_done_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if lacks := missing(devices()["native-m32"]):
        pytest.skip(f"not on this machine, for native-m32: {', '.join(lacks)}")
    paths = [str(p) for p in source(tmp_path, "return 0;")]
    assert main(["--device", "native-m32", "--count", *paths]) == 2
    assert "instructions are counted under QEMU only" in capsys.readouterr().err
    assert main(["--device", "native-m32", str(tmp_path / "none.c")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["--device", "native-m32", str(empty)]) == 2
    assert "nothing to compile" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    assert main(["--device", "cortex-m4", *paths]) == 2
    assert capsys.readouterr().err.startswith("cortex-m4: not on this machine: arm-none-eabi-gcc")


def test_the_table_has_every_device_that_is_promised() -> None:
    assert set(CORTEX_M) == {f"cortex-m{n}" for n in (0, 3, 4, 7, 33, 55)}
    assert set(DEVICES) - set(CORTEX_M) == {"riscv32", "riscv64", "native-m32"}
