"""What a browser may not do, without a browser: paths, sizes, archives."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import zipfile

import pytest
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.fronts.web import guard
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "study").mkdir(parents=True)
    (folder / "study" / "a.dcm").write_bytes(b"x")
    (tmp_path / "secret").write_text("s")
    (folder / "link").symlink_to(tmp_path / "secret")
    return folder


def test_a_path_below_the_folder(data):
    assert guard.inside(data, "study") == (data / "study").resolve()
    assert guard.inside(data, "study/a.dcm").is_file()


@pytest.mark.parametrize("path", ["../secret", "study/../../secret", "/etc/passwd", "link", "..", "study/../.."])
def test_a_path_out_of_the_folder_is_refused(data, path):
    with pytest.raises(InputError, match="not in the data folder"):
        guard.inside(data, path)


def test_a_path_that_is_not_there(data):
    with pytest.raises(InputError, match="not there"):
        guard.inside(data, "study/b.dcm")


@given(st.text(max_size=60))
def test_a_name_never_leads_anywhere(name):
    safe = guard.safe_name(name)
    assert safe
    assert not safe.startswith(".")
    assert os.sep not in safe
    assert "\0" not in safe
    assert safe not in (".", "..")


async def chunks(*parts):
    for part in parts:
        yield part


def test_an_upload_is_all_or_nothing(tmp_path):
    target = tmp_path / "u"
    assert asyncio.run(guard.receive(chunks(b"abc", b"de"), target, 5)) == 5
    assert target.read_bytes() == b"abcde"
    with pytest.raises(InputError, match="are allowed"):
        asyncio.run(guard.receive(chunks(b"abc", b"def"), tmp_path / "v", 5))
    assert [p.name for p in tmp_path.iterdir()] == ["u"]
    with pytest.raises(InputError, match=r"5\.0 GiB"):
        guard.refuse_length(5 * 1024**3, guard.UPLOAD_BYTES)
    guard.refuse_length(None, 1)


def zipped(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_an_archive_is_unpacked(tmp_path):
    archive = zipped(tmp_path / "a.zip", [("x/1.dcm", b"one"), ("x/2.dcm", b"two"), ("y/", b"")])
    guard.unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/x/2.dcm").read_bytes() == b"two"


@pytest.mark.parametrize("name", ["../out.txt", "/etc/x", "a/../../x", "..\\x", "C:\\x", "a/../../../x"])
def test_an_archive_that_leads_out_is_refused(tmp_path, name):
    archive = zipped(tmp_path / "a.zip", [("fine", b"x"), (name, b"x")])
    with pytest.raises(InputError, match="outside"):
        guard.unpack(archive, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_a_link_in_an_archive_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="link"):
        guard.unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_bomb_is_refused(tmp_path):
    archive = zipped(tmp_path / "a.zip", [("zeros", bytes(20 * 1024**2))])
    assert archive.stat().st_size < 100_000
    with pytest.raises(InputError, match="times as large"):
        guard.unpack(archive, tmp_path / "out")
    many = zipped(tmp_path / "b.zip", [(f"{n}", os.urandom(1000)) for n in range(50)])
    with pytest.raises(InputError, match="50 files"):
        guard.unpack(many, tmp_path / "out", entries=49)
    with pytest.raises(InputError, match="becomes more than"):
        guard.unpack(many, tmp_path / "out", size=40_000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_a_header_that_lies_is_found_out(tmp_path):
    """The size in the directory is made small; what comes out is counted."""
    content = os.urandom(3 * 1024**2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", content)
    raw = buffer.getvalue().replace(len(content).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(InputError):
        guard.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_no_archive_is_a_line(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read"):
        guard.unpack(tmp_path / "a.zip", tmp_path / "out")


def test_tokens():
    assert guard.same("abc", "abc")
    assert not guard.same("abd", "abc")
    assert not guard.same(None, "abc")
    assert not guard.same("é", "abc")


def test_serve_says_what_is_missing(monkeypatch, capsys, tmp_path):
    from CardioPrecisionLib.fronts import cli, serve

    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["serve"]) == 2
    assert "cardioprecision[web]" in capsys.readouterr().err
    monkeypatch.undo()
    pytest.importorskip("trame_slicer", reason="needs the extra 'web'")
    assert cli.main(["serve", "--data", str(tmp_path / "none")]) == 2
    assert "not there" in capsys.readouterr().err
