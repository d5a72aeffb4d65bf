"""Arrays in files: nothing in a table of numbers is lost or misread, and every name comes back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.cli import arrays_io

from lstm_rt import InputError


def read(tmp_path: Path, content: str | bytes) -> list[list[float]]:
    path = tmp_path / "x.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows: list[list[float]] = arrays_io.read_csv(path).tolist()
    return rows


# -- CSV --------------------------------------------------------------------------------------------

ROWS = [[0.1, 0.2], [3, -4e-5]]


@pytest.mark.parametrize(
    "text",
    [
        "0.1,0.2\n3,-4e-5\n",
        "0.1, 0.2\r\n3 ,-4e-5",
        "0.1,0.2\r3,-4e-5",
        "0.1;0.2\n3;-4e-5\n",
        "0.1\t0.2\n3\t-4e-5\n",
        "0.1 0.2\n3    -4e-5\n",
        "  .1   +0.2\n3. -4E-05",
        '"0.1","0.2"\n"3","-4e-5"\n',
        "a,b\n0.1,0.2\n3,-4e-5",
        '"speed, in m/s";"b"\n0.1;0.2\n3;-4e-5',
        "information,nanometres\n0.1,0.2\n3,-4e-5",
        "O2,I\n0.1,0.2\n3,-4e-5",
        "l,x.1\n0.1,0.2\n3,-4e-5",
        "\ufeffa,b\n0.1,0.2\n\n  \n3,-4e-5\n\n",
        "# made by numpy.savetxt\n# a b\n0.1 0.2\n3 -4e-5",
        "temp\u00e9rature;b\n0.1;0.2\n3;-4e-5".encode("latin-1"),
    ],
)
def test_tables(text: str | bytes, tmp_path: Path) -> None:
    assert read(tmp_path, text) == ROWS


def test_one_column_and_one_row(tmp_path: Path) -> None:
    assert read(tmp_path, "1\n2\n") == [[1], [2]]
    assert read(tmp_path, "sunspot number\n1\n2\n") == [[1], [2]]
    assert read(tmp_path, "0.1;0.2") == [[0.1, 0.2]]
    assert read(tmp_path, "x;y\n0.1;0.2") == [[0.1, 0.2]]
    assert read(tmp_path, "inf,-Infinity\n1,2")[0] == [np.inf, -np.inf]
    assert np.isnan(read(tmp_path, "nan,NaN")).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.l,0.2,0.3\n1,2,3\n", r"line 1, field 1: '0.l' is no number"),
        ("0.l\n0.2\n", r"line 1, field 1: '0.l' is no number"),
        ("x,0.2\n1,2\n", r"line 1, field 1: 'x' is no number"),
        ("x,y\n\n1,2\n3,z\n", r"line 4, field 2: 'z' is no number"),
        ("1,2\n3\n", r"line 2 has 1 fields, line 1 has 2"),
        ("1,2\n3,\n", r"line 2, field 2: is empty"),
        ("1,2\n3,4 # five\n", r"line 2, field 2: '4 # five' is no number"),
        ("0,1;0,2\n", r"line 1, field 1: '0,1' is no number; decimals have a point"),
        ("0,1\t0,2\n", r"'0,1' is no number; decimals have a point"),
        ("1,2\n3;4\n", r"line 1, field 1: '1,2' is no number"),
        ("1;2\n3,4\n", r"line 1, field 1: '1;2' is no number"),
        ("1,2\n3,4\n5;6\n", r"line 3, field 1: '5;6' is no number"),
        ("a;b\n1,2\n3,4\n", r"line 1 has 1 names, line 2 2 numbers"),
        ("a,b,c\n1,2\n", r"line 1 has 3 names, line 2 2 numbers"),
        ("O.1,O.2\n1,2\n", r"line 1, field 1: 'O.1' is no number"),
        ("l.0\n1\n", r"line 1, field 1: 'l.0' is no number"),
        ("-I.5e-o3;x\n1;2\n", r"line 1, field 1: '-I.5e-o3' is no number"),
        ("x .l\n1 2\n", r"line 1, field 1: 'x' is no number"),
        ("NA,NA\n1,2\n", r"line 1, field 1: 'NA' is no number"),
        (",\n1,2\n", r"line 1, field 1: is empty"),
        ("1e400,2\n", r"line 1, field 1: '1e400' is too large a number"),
        ("9" * 400, r"is too large a number"),
        ("1_000,2\n", r"line 1, field 1: '1_000' is no number"),
        ("\u0661,2\n", r"field 1: '\u0661' is no number"),
        ("0x10,2\n", r"'0x10' is no number"),
        ("a,b\n", r"one line of names, 'a,b', and no numbers"),
        ("# a\n", r"the file is empty"),
        ("1,\x1b[31m2\n" + "3,4\n", r"'\\\\x1b\[31m2' is no number"),
        ('1,"2\n3,4"\n', r"line 2, field 2: '4\"' is no number"),
        ("1,2\n".encode("utf-16"), r"not a text file in UTF-8"),
    ],
)
def test_what_is_no_table_is_an_error(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=4),
    st.sampled_from([",", ";", "\t", " "]),
    st.booleans(),
)
def test_every_number_comes_back(rows: list[list[float]], separator: str, named: bool) -> None:
    with io.StringIO() as content:
        content.write(separator.join("ab") + "\n" if named else "")
        content.writelines(separator.join(map(repr, row)) + "\n" for row in rows)
        text = content.getvalue()
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        np.testing.assert_array_equal(read(Path(folder), text), rows)


def test_numbers_too_large_for_float32_are_no_infinities() -> None:
    single = np.dtype(np.float32)
    with pytest.raises(InputError, match="float32 does not hold"):
        arrays_io.as_dtype(np.array([1e39]), single, "x")
    kept, _ = arrays_io.as_dtype(np.array([np.inf, np.nan, 1.5]), single, "x")
    np.testing.assert_array_equal(kept, [np.inf, np.nan, 1.5])


@pytest.mark.parametrize("text", ["1,-2", "1," + "9" * 400, "99999999999"])
def test_lengths_are_whole_numbers_of_32_bits(text: str) -> None:
    if "-" in text:
        assert arrays_io.read_lengths(text).tolist() == [1, -2]  # the model says that this is none
        return
    with pytest.raises(InputError, match="int32 does not hold"):
        arrays_io.read_lengths(text)


# -- .npy, .npz -------------------------------------------------------------------------------------


def test_arrays_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.savez(tmp_path / "zip.npz", x=np.ones(2))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",), }\n"
    for content in (
        (tmp_path / "zip.npz").read_bytes(),
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header,
        b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 118,
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.npy"):
            arrays_io.read_array(path)
    (tmp_path / "z.npz").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"not a \.npz file"):
        arrays_io.read_array(tmp_path / "z.npz")


def test_archives_are_read_by_name_or_in_order(tmp_path: Path) -> None:
    a, b = np.arange(2.0), np.arange(3.0)
    np.savez(tmp_path / "names.npz", b=b, a=a, other=np.array([None]))  # what is not wanted is not read
    np.savez(tmp_path / "order.npz", a, b)
    for name in ("names.npz", "order.npz"):
        got, unread = arrays_io.read_arrays([tmp_path / name], ["a", "b"], "input")
        more = f"{tmp_path / name}: holds 'other', no input of the model (a, b)"
        assert unread == (more if name == "names.npz" else "")
        np.testing.assert_array_equal(got[0], a)
        np.testing.assert_array_equal(got[1], b)
    with pytest.raises(InputError, match="holds arr_0, arr_1, expected 1: a"):
        arrays_io.read_arrays([tmp_path / "order.npz"], ["a"], "input")


@pytest.mark.parametrize(
    "names",
    [
        ["allow_pickle", "file", "self", "kwds"],
        ["dense/BiasAdd:0", "a\\b", ""],
        ["arr_0", "Größe", "\N{SNOWMAN}", "a b"],
        ["y.npy", "z"],
    ],
)
def test_every_output_is_found_by_its_name(names: list[str]) -> None:
    outputs = [(name, np.full((2, k + 1), k, np.float32)) for k, name in enumerate(names)]
    with np.load(io.BytesIO(arrays_io.to_bytes(outputs, "npz"))) as archive:
        assert sorted(archive.files) == sorted(names)
        for name, array in outputs:
            np.testing.assert_array_equal(archive[name], array)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["y", "y"], "two of that name"),
        (["y", "y.npy"], "takes it for 'y'"),
        (["../y"], "leads out of the folder"),
        (["a/../../y"], "leads out of the folder"),
        (["/etc/y"], "leads out of the folder"),
        (["y\0z"], "no name for a member"),
        (["y" * 5000], "no name for a member"),
    ],
)
def test_names_that_cannot_be_found_again(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        arrays_io.to_bytes([(name, np.zeros(1)) for name in names], "npz")
    assert str(caught.value).isprintable()


def test_a_name_that_is_missing_from_an_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", audoi=np.ones(2), ids=np.ones(2))
    with pytest.raises(InputError, match=r"holds audoi, ids, expected 2: audio, ids; .*did you mean 'audoi'"):
        arrays_io.read_arrays([tmp_path / "x.npz"], ["audio", "ids"], "input")


@pytest.mark.parametrize("text", ["5,2.5", "2.5", "5,", ",5", "5,,3", "1e3", "5 3", "9" * 400 + ".5"])
def test_lengths_that_are_not_whole_are_no_file(text: str) -> None:
    with pytest.raises(InputError, match="lengths are whole numbers, separated by commas") as caught:
        arrays_io.read_lengths(text)
    assert len(str(caught.value)) < 300
    assert arrays_io.lengths_file("n.npy") == Path("n.npy")


def test_a_file_of_lengths_is_named(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("3\n2.5\n")
    with pytest.raises(InputError, match=r"n\.csv: .* with values that int32 does not hold: 2\.5 at \[1\]"):
        arrays_io.read_lengths(str(tmp_path / "n.csv"))
