"""`rumpel volume` and the words of a start, as a person uses them: nothing here boots."""

from __future__ import annotations

import filecmp
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.machine.volumes_lock import hold_for_reading, hold_for_writing


def rumpel(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-m", "rumpel", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        cwd=cwd, env={**os.environ, **environment}, timeout=120, check=False,
    )  # fmt: skip


def volume(*words: str, cwd: Path | None = None) -> str:
    """What a command that must succeed said, on both outputs."""
    done = rumpel("volume", *words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def refused(status: int, *words: str, cwd: Path | None = None) -> str:
    done = rumpel("volume", *words, cwd=cwd)
    assert (done.returncode, done.stdout) == (status, ""), (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def image(own_state: Path) -> Path:
    return own_state / "volumes/web/data.ext4"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with what names and modes can be."""
    root = tmp_path / "tree"
    (root / "a b").mkdir(parents=True, mode=0o755)
    for name in (
        "plain",
        'with "quotes" and <12>',
        "-dash",
        "#hash",
        " lead",
        "trail ",
        "ünïcode",
        "tab\there",
        "\\back",
    ):
        (root / "a b" / name).write_text(f"content of {name}\n")
    (root / "a b" / "plain").chmod(0o640)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "empty").mkdir(mode=0o700)
    (root / "nothing").write_bytes(b"")
    (root / "zeros").write_bytes(bytes(300_000))
    (root / "noise").write_bytes(os.urandom(700_001))
    (root / "short").symlink_to("a b/plain")
    (root / "long").symlink_to("d/" * 40 + "end")
    (root / os.fsdecode(b"not-utf8-\xff")).write_text("bytes")
    return root


def same(left: Path, right: Path) -> None:
    """The two trees have the same names, kinds, modes, targets and contents."""
    ours = sorted(path.relative_to(left) for path in left.rglob("*"))
    assert ours == sorted(path.relative_to(right) for path in right.rglob("*"))
    for name in ours:
        one, other = left / name, right / name
        assert stat.S_IFMT(one.lstat().st_mode) == stat.S_IFMT(other.lstat().st_mode), name
        if one.is_symlink():
            assert one.readlink() == other.readlink()
            continue
        assert stat.S_IMODE(one.stat().st_mode) == stat.S_IMODE(other.stat().st_mode), name
        assert one.is_dir() or filecmp.cmp(one, other, shallow=False), name


def test_a_tree_goes_into_a_volume_and_comes_out_the_same(tree: Path, tmp_path: Path, own_state: Path) -> None:
    volume("create", "web/data", "--size", "8M")
    assert volume("copy-in", "web/data", str(tree)).endswith(" copied into 'web/data': /tree\n")
    out = tmp_path / "out"
    out.mkdir()
    volume("copy-out", "web/data", "/tree", str(out))
    same(tree, out / "tree")
    volume("copy-out", "web/data", "tree/a b/", str(tmp_path / "renamed"))
    same(tree / "a b", tmp_path / "renamed")
    volume("copy-out", "web/data", "/", str(tmp_path / "all"))
    same(tree, tmp_path / "all/tree")
    assert [path.name for path in image(own_state).parent.iterdir()] == ["data.ext4"]
    assert subprocess.run(["/sbin/e2fsck", "-fn", image(own_state)], capture_output=True, check=False).returncode == 0


def test_a_volume_is_filled_from_a_folder_when_it_is_made(tree: Path, tmp_path: Path) -> None:
    volume("create", "web/data", "--size", "8M", "--from", str(tree))
    volume("copy-out", "web/data", "/", str(tmp_path / "all"))
    same(tree, tmp_path / "all")


def test_inspect_lists_every_file_with_mode_size_and_target(tree: Path) -> None:
    volume("create", "web/data", "--size", "8M", "--from", str(tree))
    shown = json.loads(volume("inspect", "web/data", "--json"))
    files = {entry["path"]: entry for entry in shown["files"]}
    assert "/not-utf8-\\xff" in files
    assert len(files) == sum(1 for _ in tree.rglob("*"))
    assert (files["/a b/plain"]["mode"], files["/a b/plain"]["size"]) == (0o640, len("content of plain\n"))
    assert (files["/short"]["kind"], files["/short"]["target"]) == ("link", "a b/plain")
    assert files["/long"]["target"] == "d/" * 40 + "end"
    assert (shown["name"], shown["size"]) == ("web/data", 8 << 20)
    assert 0 < shown["free"] < shown["size"]
    text = volume("inspect", "web/data")
    assert "-rw-r-----  17      /a b/plain\n" in text
    assert "\t" not in text and "/a b/tab\\there\n" in text


def test_list_names_each_volume_with_its_size(own_state: Path) -> None:
    assert volume("ls") == "There is no volume yet: a machine makes its own, 'rumpel volume create' makes one.\n"
    volume("create", "web/data", "--size", "8M")
    volume("create", "db/logs", "--size", "1G")
    listed = json.loads(volume("ls", "--json"))
    assert [(each["name"], each["size"], each["in_use"]) for each in listed] == [
        ("db/logs", 1 << 30, False), ("web/data", 8 << 20, False),
    ]  # fmt: skip
    assert all(each["allocated"] < each["size"] for each in listed)
    assert volume("ls").splitlines()[2].split() == [
        "web/data", "8", "MiB", *volume("ls").splitlines()[2].split()[3:5], "free", str(image(own_state)),
    ]  # fmt: skip


def test_nothing_that_is_there_is_overwritten_unless_asked(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text("first")
    volume("create", "web/data", "--size", "8M")
    volume("copy-in", "web/data", str(note))
    note.write_text("second")
    assert refused(2, "copy-in", "web/data", str(note)) == (
        "rumpel: '/note' exists already in the volume 'web/data'.\nGive another target, or '--replace'.\n"
    )
    assert refused(2, "copy-out", "web/data", "/note", str(note)) == (
        f"rumpel: '{note}' exists already.\nGive another target, or '--replace'.\n"
    )
    assert note.read_text() == "second"
    volume("copy-out", "web/data", "/note", str(note), "--replace")
    assert note.read_text() == "first"
    note.write_text("third")
    volume("copy-in", "web/data", str(note), "--replace")
    volume("copy-out", "web/data", "/note", str(tmp_path / "again"))
    assert (tmp_path / "again").read_text() == "third"


def test_one_file_in_the_way_keeps_the_whole_copy_from_beginning(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    volume("create", "web/data", "--size", "8M", "--from", str(source))
    out = tmp_path / "out"
    out.mkdir()
    (out / "b").write_text("mine")
    refused(2, "copy-out", "web/data", "/", str(out))
    assert [path.name for path in out.iterdir()] == ["b"]
    assert (out / "b").read_text() == "mine"


def test_a_folder_does_not_replace_a_file_nor_a_file_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    (tmp_path / "y/x").write_text("")
    volume("create", "web/data", "--size", "8M")
    volume("copy-in", "web/data", str(tmp_path / "x"))
    assert refused(2, "copy-in", "web/data", str(tmp_path / "y/x"), "/", "--replace") == (
        f"rumpel: '/x' exists already in the volume 'web/data', as a folder; '{tmp_path}/y/x' is a file.\n"
        "Give another target.\n"
    )
    assert refused(2, "copy-out", "web/data", "/x", str(tmp_path / "y"), "--replace") == (
        f"rumpel: '{tmp_path}/y/x' exists already, as a file; '/x' is a folder.\nGive another target.\n"
    )


def test_a_copy_that_does_not_fit_leaves_the_volume_byte_for_byte(tmp_path: Path, own_state: Path) -> None:
    volume("create", "web/data", "--size", "4M")
    before = image(own_state).read_bytes()
    big = tmp_path / "big"
    big.write_bytes(os.urandom(5 << 20))
    said = refused(4, "copy-in", "web/data", str(big))
    free = json.loads(volume("inspect", "web/data", "--json"))["free"] >> 20
    assert said == (
        f"rumpel: The volume 'web/data' is full: what is copied needs 5 MiB, and {free} MiB are free in it.\n"
        "Make it larger with 'rumpel volume grow web/data SIZE'; it was left as it is.\n"
    )
    many = tmp_path / "many"
    many.mkdir()
    for number in range(1500):  # more files than it has inodes, though the bytes would fit
        (many / str(number)).touch()
    assert "rumpel: The volume 'web/data' is full" in refused(4, "copy-in", "web/data", str(many))
    assert image(own_state).read_bytes() == before
    assert len(list(image(own_state).parent.iterdir())) == 1


def test_a_full_disk_leaves_the_volume_and_the_folder_as_they_were(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=18m", "rumpel-test", str(disk)], check=True)
    try:
        path = disk / "data.ext4"
        volume("create", str(path), "--size", "16M")
        (tmp_path / "noise").write_bytes(os.urandom(6 << 20))
        volume("copy-in", str(path), str(tmp_path / "noise"))
        before = path.read_bytes()
        (disk / "filler").write_bytes(os.urandom(6 << 20))
        (tmp_path / "more").write_bytes(os.urandom(1 << 20))
        said = refused(4, "copy-in", str(path), str(tmp_path / "more"))
        assert said == (
            f"rumpel: There is no disk space to change the volume '{path}': a changed copy needs 8 MiB, "
            f"and 5 MiB are free in '{disk}'.\nFree some space; the volume was left as it is.\n"
        )
        assert refused(4, "grow", str(path), "64M").startswith("rumpel: There is no disk space to change the volume ")
        assert refused(4, "copy-out", str(path), "/noise", str(disk / "out")) == (
            "rumpel: There is no disk space for what is copied: it needs 6 MiB, "
            f"and 5 MiB are free in '{disk}'.\nFree some space, or give another target.\n"
        )
        assert path.read_bytes() == before
        assert sorted(each.name for each in disk.iterdir()) == ["data.ext4", "filler"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_growing_keeps_the_files_and_gives_room(tree: Path, tmp_path: Path) -> None:
    volume("create", "web/data", "--size", "4M", "--from", str(tree))
    assert volume("grow", "web/data", "32M") == "The volume 'web/data' was made larger: 4 MiB -> 32 MiB.\n"
    shown = json.loads(volume("inspect", "web/data", "--json"))
    assert shown["size"] == 32 << 20 and shown["free"] > 25 << 20
    volume("copy-out", "web/data", "/", str(tmp_path / "all"))
    same(tree, tmp_path / "all")
    assert volume("grow", "web/data", "32M") == "The volume 'web/data' has 32 MiB already.\n"
    assert refused(4, "grow", "web/data", "8M") == (
        "rumpel: The volume 'web/data' has 32 MiB; a volume is not made smaller, such as to 8 MiB.\n"
        "Make a new one with 'rumpel volume create', and copy the files.\n"
    )


def test_a_volume_that_is_held_is_refused_by_every_command_that_would_touch_it(own_state: Path, tmp_path: Path) -> None:
    volume("create", "web/data", "--size", "8M")
    (tmp_path / "file").write_text("x")
    said = (
        f"rumpel: The volume 'web/data' is in use by another instance: {image(own_state)}.\n"
        "Stop that instance ('rumpel ps' lists what runs); nothing was changed.\n"
    )
    changing = (["copy-in", "web/data", str(tmp_path / "file")], ["grow", "web/data", "16M"], ["rm", "-y", "web/data"])
    reading = (["inspect", "web/data"], ["copy-out", "web/data", "/", str(tmp_path / "out")])
    with hold_for_writing("web/data", image(own_state)):
        for words in (*changing, *reading):
            assert refused(4, *words) == said
        assert json.loads(volume("ls", "--json"))[0]["in_use"] is True
    with hold_for_reading("web/data", image(own_state)):
        for words in changing:
            assert refused(4, *words) == said
        for words in reading:
            volume(*words)


def test_remove_asks_and_keeps_what_is_not_confirmed(own_state: Path) -> None:
    volume("create", "web/data", "--size", "8M")
    assert refused(2, "rm", "web/data") == (
        "rumpel: 'rumpel volume rm' asks before it removes, but there is nobody to answer.\n"
        "Say '--yes' to remove without being asked.\n"
    )
    for answer, status, kept in (("n\n", 1, True), ("y\n", 0, False)):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-I", "-m", "rumpel", "volume", "rm", "web/data"], stdin=theirs, stderr=subprocess.PIPE
        ) as asked:
            os.write(ours, answer.encode())
            _, said = asked.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        assert b"Remove the volume 'web/data' and all that is in it? [y/N]" in said
        assert (asked.returncode, image(own_state).exists()) == (status, kept)
    assert not image(own_state).parent.exists()
    assert refused(4, "rm", "--yes", "web/data").startswith("rumpel: There is no volume 'web/data'.\n")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["inspect", "data"], 2,
         "rumpel: 'data' does not name a volume.\nWrite INSTANCE/VOLUME, such as sqlite-web/data "
         "('rumpel volume ls' lists them), or a path that begins with '/' or './'.\n"),
        (["inspect", "web/none"], 4, "rumpel: There is no volume 'web/none'.\n'rumpel volume ls' lists what there is; "
         "'rumpel volume create' makes one.\n"),
        (["create", "web/data", "--size", "8M"], 4,
         "rumpel: There is a volume 'web/data' already: {image}.\n"
         "Choose another name, or remove it with 'rumpel volume rm'.\n"),
        (["create", "web/more", "--size", "8"], 2,
         "rumpel: '8' is not a size.\nA size is a whole number with M (MiB) or G (GiB), such as 128M.\n"),
        (["create", "./more", "--size", "8M"], 2,
         "rumpel: The file of a volume ends with '.ext4': './more' does not.\nWrite ./more.ext4.\n"),
        (["create", "/no/such/folder/x.ext4", "--size", "8M"], 2,
         "rumpel: There is no folder '/no/such/folder'.\nCreate it, or correct the path.\n"),
        (["copy-in", "web/data", "nosuch"], 2, "rumpel: There is no file or folder 'nosuch'.\nCorrect the name.\n"),
        (["copy-in", "web/data", "/etc/hostname", "/a/b"], 2,
         "rumpel: There is no folder '/a' in the volume 'web/data'.\n"
         "Copy a whole folder, or into one of those that 'rumpel volume inspect web/data' lists.\n"),
        (["copy-in", "web/data", "/dev/null"], 2,
         "rumpel: '/dev/null' is neither a file, a folder nor a link.\nLeave it out.\n"),
        (["copy-out", "web/data", "/nosuch"], 2, "rumpel: There is no '/nosuch' in the volume 'web/data'.\n"
         "'rumpel volume inspect web/data' lists what is in it.\n"),
        (["copy-out", "web/data", "../x"], 2,
         "rumpel: '../x' leads upwards; a path in a volume does not.\nWrite it from the volume's root.\n"),
        (["inspect", "/etc/hostname"], 4,
         "rumpel: The volume '/etc/hostname' holds no ext4 filesystem: /etc/hostname.\n"
         "Check that this is the file that you mean; nothing was changed.\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_words_are_answered_with_what_is_right(
    words: list[str], status: int, says: str, own_state: Path, tmp_path: Path
) -> None:
    volume("create", "web/data", "--size", "8M")
    assert refused(status, *words, cwd=tmp_path) == says.format(image=image(own_state))


def test_a_name_with_a_line_break_is_refused_and_one_from_a_guest_comes_out(tmp_path: Path, own_state: Path) -> None:
    volume("create", "web/data", "--size", "8M")
    (tmp_path / "two\nlines").write_text("x")
    assert "has a line break, which cannot be written" in refused(
        2, "copy-in", "web/data", str(tmp_path / "two\nlines")
    )
    subprocess.run(
        ["/sbin/debugfs", "-w", "-R", 'mkdir "forged\n/12/040755/0/0"', str(image(own_state))],
        capture_output=True, check=True,
    )  # fmt: skip
    subprocess.run(
        ["/sbin/debugfs", "-w", "-R", 'mkdir "made\nup"', str(image(own_state))], capture_output=True, check=True
    )
    assert "/made\\nup\n" in volume("inspect", "web/data")
    volume("copy-out", "web/data", "/", str(tmp_path / "all"))
    assert (tmp_path / "all/made\nup").is_dir()


START = [
    (["-e", "1A=x"], "'1A' cannot name an environment variable.\n"
     "A name has letters, digits and '_', and does not begin with a digit.\n"),
    (["-e", "=x"], "'-e =x' names no variable.\nWrite NAME=VALUE, or NAME for the value that it has here.\n"),
    (["--env-file", "nosuch"], "The file 'nosuch' of '--env-file' cannot be read: No such file or directory.\n"
     "Correct its name.\n"),
    (["--env-file", "variables"], "variables:3: 'B C' cannot name an environment variable.\n"
     "A name has letters, digits and '_', and does not begin with a digit.\n"),
    (["--env-file", "unset"], "'unset:1' asks for the value that 'NOT_SET' has here, but there is no such variable.\n"
     "Set it, or write NOT_SET=VALUE.\n"),
    (["--secret", "hunter2"], "'--secret' needs a name and a file.\n"
     "Write it as --secret NAME=FILE; FILE holds the secret.\n"),
    (["--secret", "token=nosuch"], "The file 'nosuch' of '--secret' cannot be read: No such file or directory.\n"
     "Correct its name.\n"),
    (["--secret", "token=nul"], "The secret 'token' holds a NUL byte.\n"
     "Secrets are text; encode other data, such as by base64.\n"),
    (["--secret", "token=large"], "The file 'large' of '--secret' is larger than 64 KiB, which is what all settings "
     "together may take.\nPut large data into a volume: 'rumpel volume copy-in'.\n"),
    (["--hostname", "my_box"], "'my_box' is not a host name.\nA host name is up to 64 letters, digits, '-' and '.'; "
     "between dots stand at most 63, the first and the last of them a letter or a digit (RFC 1123).\n"),
    (["--address", "fd00::2/64"], "The address 'fd00::2' is an IPv6 address; the guest's network is IPv4.\n"
     "Write 'dhcp' or ADDRESS/BITS,GATEWAY,NAMESERVER, such as 10.0.2.15/24,10.0.2.2,10.0.2.3.\n"),
    (["--address", "10.0.2.15/24,10.0.3.2"], "The gateway '10.0.3.2' is outside of the guest's network, 10.0.2.0/24.\n"
     "Write 'dhcp' or ADDRESS/BITS,GATEWAY,NAMESERVER, such as 10.0.2.15/24,10.0.2.2,10.0.2.3.\n"),
    (["--clock-offset", "soon"], "'--clock-offset soon' is not a time.\n"
     "Write whole seconds, or a whole number with 's', 'm', 'h' or 'd', such as -90, +2h or 30d.\n"),
    (["--clock-offset", "99999d"], "The clock cannot be moved by 8639913600 seconds.\n"
     "It can be moved by a century either way.\n"),
    (["--no-arguments", "--", "x"], "'--no-arguments' does not go with arguments.\nLeave out one of them.\n"),
    (["--volume", "data"], "'--volume data' names no file.\n"
     "Write NAME=FILE, NAME=FILE:ro, or NAME=:ro for its own file.\n"),
    (["--volume", "data=a", "--volume", "data=b"], "The volume 'data' is set more than once.\nKeep one.\n"),
    (["--volume", "data=a", "--no-volume", "data"],
     "'--no-volume data' does not go with other options for that volume.\nLeave out one of them.\n"),
    (["--volume-size", "data=big"],
     "'big' is not a size.\nA size is a whole number with M (MiB) or G (GiB), such as 128M.\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "says"), START, ids=[" ".join(words) for words, _ in START])
def test_wrong_settings_of_a_start_are_refused_before_anything_is_built(
    words: list[str], says: str, tmp_path: Path, own_state: Path
) -> None:
    (tmp_path / "variables").write_text("# good\nA=1\nB C=2\n")
    (tmp_path / "unset").write_text("NOT_SET\n")
    (tmp_path / "nul").write_bytes(b"hunter\0two")
    (tmp_path / "large").write_bytes(b"x" * 65537)
    before = list(own_state.rglob("*"))
    done = rumpel("run", "hello", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"rumpel: {says}")
    assert list(own_state.rglob("*")) == before
