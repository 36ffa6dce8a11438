"""What a browser may not do: leave its folders, fill the disk, hide a bomb in an archive."""

from __future__ import annotations

import hmac
import re
import stat
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

from ...errors import InputError
from ...replacing import replacing

#: Largest upload, bytes, where nothing else was said.
UPLOAD_BYTES = 2 * 1024**3
#: Of an archive: entries, bytes unpacked, and how much smaller than that an entry may be packed.
ARCHIVE_ENTRIES, ARCHIVE_BYTES, ARCHIVE_RATIO = 20_000, 8 * 1024**3, 200
_SMALL = 1024**2  # below this an entry is no bomb, however well it is packed
_CHUNK = 1024**2
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


def same(given: str | None, secret: str) -> bool:
    """Whether a token is the right one, in a time that does not tell how much of it was right."""
    return given is not None and hmac.compare_digest(given.encode(), secret.encode())


def safe_name(name: str) -> str:
    """A file name without folders and without what a file system minds."""
    plain = _SAFE.sub("_", PurePosixPath(name.replace("\\", "/")).name).strip("._")
    return plain[:120] or "upload"


def inside(root: Path, relative: str) -> Path:
    """A path below a folder; links that lead out of it do not count as below.

    Raises
    ------
    InputError
        It is not below the folder, or it is not there.
    """
    base = root.resolve()
    path = (base / relative).resolve()
    if not path.is_relative_to(base) or "\0" in relative:
        raise InputError(f"{safe_name(relative)}: this is not in the data folder.")
    if not path.exists():
        raise InputError(f"{safe_name(relative)}: this is not there (any more).")
    return path


def refuse_length(length: int | None, limit: int) -> None:
    """Raise `InputError` where an upload says that it is too large."""
    if length is not None and length > limit:
        raise InputError(f"The upload has {length / 1024**3:.1f} GiB; {limit / 1024**3:.1f} GiB are allowed.")


async def receive(chunks: AsyncIterator[bytes], target: Path, limit: int) -> int:
    """Write an upload, counting: all of it or nothing.

    Raises
    ------
    InputError
        It is larger than `limit`, whatever it said before.
    """
    count = 0
    with replacing(target) as beside, open(beside, "wb") as file:
        async for chunk in chunks:
            count += len(chunk)
            refuse_length(count, limit)
            file.write(chunk)
    return count


def unpack(archive: Path, target: Path, *, entries: int = ARCHIVE_ENTRIES, size: int = ARCHIVE_BYTES) -> None:
    """Unpack a zip archive into a new folder: all of it or nothing.

    Raises
    ------
    InputError
        It is no zip archive, names paths outside of itself or links, or becomes too much.
    """
    try:
        with replacing(target) as beside, zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            if len(members) > entries:
                raise InputError(f"{archive.name}: {len(members)} files; {entries} are allowed.")
            for member in members:
                _check(archive.name, member)
            if sum(member.file_size for member in members) > size:
                raise InputError(f"{archive.name}: it becomes more than {size / 1024**3:.1f} GiB.")
            beside.mkdir(parents=True)
            left = size
            for member in members:
                if not member.is_dir():
                    left -= _extract(packed, member, beside, left, archive.name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{archive.name}: this archive cannot be read ({type(error).__name__}).") from None


def _check(name: str, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename or "\0" in member.filename:
        raise InputError(f"{name}: it names a path outside of itself.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{name}: it holds a link.")
    if member.file_size > _SMALL and member.file_size > ARCHIVE_RATIO * max(member.compress_size, 1):
        raise InputError(f"{name}: an entry becomes {member.file_size // max(member.compress_size, 1)} times as large.")


def _extract(packed: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, left: int, name: str) -> int:
    """Write one entry, counting what really comes out: a header may lie."""
    target = folder.joinpath(*PurePosixPath(member.filename.replace("\\", "/")).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with packed.open(member) as source, open(target, "wb") as file:
        while chunk := source.read(_CHUNK):
            count += len(chunk)
            if count > left or count > max(member.file_size, _SMALL):
                raise InputError(f"{name}: it becomes larger than it says.")
            file.write(chunk)
    return count
