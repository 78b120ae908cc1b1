"""Archives of strangers are unpacked into the tree and nowhere else."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.unit.sources.archive_maker import ar, deb, member, sha256, tar

from rumpel.errors import SourceError
from rumpel.model.lock import LockEntry, LockFile, SourceKind
from rumpel.sources import Store, unpack

HINT = "The archive itself is what was pinned; do not use it, and tell whoever publishes it."


def stored(store: Store, tmp_path: Path, kind: SourceKind, name: str, content: bytes) -> LockEntry:
    path = tmp_path / "download"
    path.write_bytes(content)
    file = LockFile(name=name, sha256=sha256(content), size=len(content))
    store.add(path, file)
    return LockEntry(name="thing", kind=kind, package="thing", version="1", files=(file,))


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def refused(store: Store, entry: LockEntry, trees: Path) -> str:
    """Why the archive was refused; checks that nothing is left of the attempt."""
    with pytest.raises(SourceError) as caught:
        unpack(entry, store, trees)
    assert caught.value.hint == HINT
    assert [path for path in trees.iterdir() if path.suffix != ".lock"] == []
    return caught.value.message


def test_a_deb_is_unpacked_with_its_links_inside_the_tree(store: Store, tmp_path: Path) -> None:
    data = tar(
        [
            (member("./", tarfile.DIRTYPE), b""),
            (member("./usr/bin/run", mode=0o4755), b"#!"),
            (member("./usr/lib/libc.so"), b"elf"),
            (member("./lib/ld.so", tarfile.SYMTYPE, "/usr/lib/libc.so"), b""),
            (member("./usr/lib/libm.so", tarfile.SYMTYPE, "libc.so"), b""),
            (member("./usr/bin/again", tarfile.LNKTYPE, "./usr/bin/run"), b""),
        ]
    )
    tree = unpack(
        stored(store, tmp_path, "deb", "thing_1_amd64.deb", deb("thing", "1", data)), store, tmp_path / "trees"
    )
    assert (tree / "lib/ld.so").readlink() == Path("../usr/lib/libc.so")
    assert (tree / "lib/ld.so").read_bytes() == b"elf"
    assert (tree / "usr/lib/libm.so").read_bytes() == b"elf"
    assert (tree / "usr/bin/again").read_bytes() == b"#!"
    assert (tree / "usr/bin/run").stat().st_mode & 0o7777 == 0o755
    assert (tree / "usr/lib/libc.so").stat().st_mode & 0o7777 == 0o644


def test_unpacking_again_gives_the_same_tree_without_work(store: Store, tmp_path: Path) -> None:
    entry = stored(store, tmp_path, "file", "settings", b"one")
    tree = unpack(entry, store, tmp_path / "trees")
    inode = (tree / "settings").stat().st_ino
    assert unpack(entry, store, tmp_path / "trees") == tree
    assert (tree / "settings").stat().st_ino == inode


def test_an_npm_package_is_unpacked_without_its_top_folder(store: Store, tmp_path: Path) -> None:
    data = tar([(member("package/package.json"), b"{}"), (member("package/lib/a.js"), b"a")], "gz")
    tree = unpack(stored(store, tmp_path, "npm", "thing-1.tgz", data), store, tmp_path / "trees")
    assert sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*")) == ["lib", "lib/a.js", "package.json"]


def test_a_wheel_is_unpacked_as_it_is(store: Store, tmp_path: Path) -> None:
    data = zipped({"thing/__init__.py": b"", "thing-1.dist-info/METADATA": b"M"})
    tree = unpack(stored(store, tmp_path, "pypi", "thing-1-py3-none-any.whl", data), store, tmp_path / "trees")
    assert (tree / "thing/__init__.py").is_file()
    assert (tree / "thing-1.dist-info/METADATA").read_bytes() == b"M"


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside"])
def test_a_name_that_leads_out_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    data = deb("thing", "1", tar([(member(name), b"evil")]))
    message = refused(store, stored(store, tmp_path, "deb", "t.deb", data), tmp_path / "trees")
    assert message == f"Source 'thing': its archive was not unpacked: the name '{name}' leads out of it."
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", ["../outside", "/outside"])
def test_a_name_in_a_wheel_that_leads_out_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    entry = stored(store, tmp_path, "pypi", "thing-1-py3-none-any.whl", zipped({name: b"evil"}))
    message = refused(store, entry, tmp_path / "trees")
    assert message == f"Source 'thing': its archive was not unpacked: the name '{name}' leads out of it."


def test_a_link_that_leads_out_is_refused(store: Store, tmp_path: Path) -> None:
    data = deb("thing", "1", tar([(member("usr/link", tarfile.SYMTYPE, "../../../etc/passwd"), b"")]))
    message = refused(store, stored(store, tmp_path, "deb", "t.deb", data), tmp_path / "trees")
    assert message == (
        "Source 'thing': its archive was not unpacked: the link 'usr/link' to '../../../etc/passwd' leads out of it."
    )


def test_a_link_that_leads_out_over_other_links_is_refused(store: Store, tmp_path: Path) -> None:
    data = tar(
        [
            (member("package/here", tarfile.SYMTYPE, "."), b""),
            (member("package/link", tarfile.SYMTYPE, "here/here/here/../../secret"), b""),
        ],
        "gz",
    )
    message = refused(store, stored(store, tmp_path, "npm", "t.tgz", data), tmp_path / "trees")
    assert message == (
        "Source 'thing': its archive was not unpacked:"
        " the link 'link' to 'here/here/here/../../secret' leads out of it."
    )


def test_an_absolute_link_in_an_npm_package_is_refused(store: Store, tmp_path: Path) -> None:
    data = tar([(member("package/link", tarfile.SYMTYPE, "/etc/passwd"), b"")], "gz")
    message = refused(store, stored(store, tmp_path, "npm", "t.tgz", data), tmp_path / "trees")
    assert "the link 'package/link' to '/etc/passwd' leads out of it" in message


def test_nothing_is_written_through_a_link(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    data = tar(
        [
            (member("usr", tarfile.SYMTYPE, os.path.relpath(outside, tmp_path / "trees/x")), b""),
            (member("usr/f"), b"evil"),
        ]
    )
    message = refused(store, stored(store, tmp_path, "deb", "t.deb", deb("thing", "1", data)), tmp_path / "trees")
    assert message == "Source 'thing': its archive was not unpacked: 'usr/f' lies below 'usr', which is no folder."
    assert list(outside.iterdir()) == []


def test_a_file_in_the_place_of_a_link_replaces_the_link(store: Store, tmp_path: Path) -> None:
    data = tar([(member("a"), b"first"), (member("link", tarfile.SYMTYPE, "a"), b""), (member("link"), b"second")])
    tree = unpack(stored(store, tmp_path, "deb", "t.deb", deb("thing", "1", data)), store, tmp_path / "trees")
    assert (tree / "a").read_bytes() == b"first"
    assert (tree / "link").read_bytes() == b"second"


def test_a_hard_link_to_what_is_not_in_the_archive_is_refused(store: Store, tmp_path: Path) -> None:
    data = tar([(member("link", tarfile.LNKTYPE, "etc/passwd"), b"")])
    message = refused(store, stored(store, tmp_path, "deb", "t.deb", deb("thing", "1", data)), tmp_path / "trees")
    assert "'link' is a hard link to 'etc/passwd', which is no file in it" in message


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(store: Store, tmp_path: Path, kind: bytes) -> None:
    data = deb("thing", "1", tar([(member("dev/thing", kind), b"")]))
    message = refused(store, stored(store, tmp_path, "deb", "t.deb", data), tmp_path / "trees")
    assert message == (
        "Source 'thing': its archive was not unpacked: 'dev/thing' is neither a file, a folder nor a link."
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not a Debian package"),
        (b"<html>", "it is not a Debian package"),
        (b"!<arch>\n" + b"short", "it is cut off or damaged"),
        (ar([("debian-binary", b"2.0\n")]), "it has no member 'data.tar'"),
        (ar([("data.tar.zst", b"x")]), "its 'data.tar.zst' is compressed in a way that cannot be read"),
    ],
)
def test_what_is_no_package_is_refused(store: Store, tmp_path: Path, content: bytes, why: str) -> None:
    message = refused(store, stored(store, tmp_path, "deb", "t.deb", content), tmp_path / "trees")
    assert message == f"Source 'thing': its archive was not unpacked: {why}."


def test_a_package_that_is_cut_off_is_refused(store: Store, tmp_path: Path) -> None:
    whole = deb("thing", "1", tar([(member("f"), os.urandom(100_000))]))
    for length in range(len(whole) - 60_000, len(whole) - 1, 5_000):
        message = refused(store, stored(store, tmp_path, "deb", "t.deb", whole[:length]), tmp_path / "trees")
        assert message.startswith("Source 'thing': its archive was not unpacked: it cannot be read: ")


def test_a_damaged_file_is_not_unpacked(store: Store, tmp_path: Path) -> None:
    entry = stored(store, tmp_path, "file", "settings", b"one")
    location = store.location(entry.files[0].sha256)
    location.chmod(0o644)
    location.write_bytes(b"two")
    with pytest.raises(SourceError, match=r"'settings' in the store is damaged"):
        unpack(entry, store, tmp_path / "trees")
    assert [path for path in (tmp_path / "trees").iterdir() if path.suffix != ".lock"] == []
