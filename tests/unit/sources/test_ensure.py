"""Bringing sources here from a small signed archive, through the real apt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.unit.sources.archive_maker import LocalArchive, set_up_apt, sha256

from rumpel.errors import SourceError
from rumpel.model.lock import Lock, LockEntry, LockFile
from rumpel.sources import Declaration, SourcePolicy, Step, Store, ensure, unpack, update, with_substitutions

KERNEL = Declaration("kernel", "deb", "linux-image-cloud-amd64", follow="linux-image-*-cloud-amd64")
MUSL = Declaration("musl", "deb", "musl-dev")
DATABASE = Declaration("database", "deb-src", "database")


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def pin(declaration: Declaration, store: Store) -> Lock:
    """The lock that `rumpel lock --update` would write; with an apt state that the test does not use otherwise."""
    return update(Lock(), [declaration], [declaration.name], store=Store(store.root.parent / "other"))


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on any use of apt fails."""
    monkeypatch.setenv("PATH", "/nonexistent")


def test_the_pinned_version_is_fetched_although_a_newer_one_is_there(archive: LocalArchive, store: Store) -> None:
    archive.add_deb("musl-dev", "1.0-1")
    archive.publish()
    lock = pin(MUSL, store)
    archive.add_deb("musl-dev", "1.0-1+deb12u1")
    archive.publish()
    ensured = ensure(lock, ["musl"], store)
    assert ensured.lock == lock
    assert ensured.substitutions == ()
    assert store.path(lock.entries[0].files[0]).stat().st_mode & 0o777 == 0o444


def test_what_is_there_is_not_asked_for_again(
    archive: LocalArchive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add_deb("musl-dev", "1.0-1")
    archive.publish()
    lock = pin(MUSL, store)
    ensure(lock, ["musl"], store)
    no_network(monkeypatch)
    assert ensure(lock, ["musl"], store).lock == lock
    assert ensure(lock, ["musl"], store, SourcePolicy.OFFLINE).lock == lock


def test_a_version_that_is_gone_is_replaced_by_the_newest_and_remembered(
    archive: LocalArchive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add_deb("musl-dev", "1.2.3-1")
    archive.publish()
    lock = pin(MUSL, store)
    archive.drop("musl-dev", "1.2.3-1")
    archive.add_deb("musl-dev", "1.2.3-1+deb12u9", b"nine")
    archive.add_deb("musl-dev", "1.2.3-1+deb12u10", b"ten")
    archive.publish()
    said: list[Step] = []
    ensured = ensure(lock, ["musl"], store, progress=said.append)
    (substitution,) = ensured.substitutions
    sentence = "musl-dev 1.2.3-1 is gone from the archive; using 1.2.3-1+deb12u10"
    assert substitution.sentence() == sentence
    assert sentence in [step.text for step in said]
    used = ensured.lock.get("musl")
    assert used is not None
    assert (used.version, used.pinned_version) == ("1.2.3-1+deb12u10", "1.2.3-1")
    store.path(used.files[0])

    no_network(monkeypatch)
    assert ensure(lock, ["musl"], store) == ensured
    assert ensure(lock, ["musl"], store, SourcePolicy.OFFLINE) == ensured
    assert with_substitutions(lock, ["musl"], store) == ensured.lock


def test_a_remembered_substitution_is_not_used_for_another_pin(
    archive: LocalArchive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add_deb("musl-dev", "1")
    archive.publish()
    lock = pin(MUSL, store)
    archive.drop("musl-dev", "1")
    archive.add_deb("musl-dev", "2")
    archive.publish()
    ensure(lock, ["musl"], store)
    (entry,) = lock.entries
    other = Lock(entries=(msgspec.structs.replace(entry, version="1.5"),))
    no_network(monkeypatch)
    assert with_substitutions(other, ["musl"], store) == other
    with pytest.raises(SourceError, match="nothing may be fetched"):
        ensure(other, ["musl"], store, SourcePolicy.OFFLINE)


def test_a_version_that_is_gone_is_an_error_where_the_lock_is_to_be_kept(archive: LocalArchive, store: Store) -> None:
    archive.add_deb("musl-dev", "1.2.3-1")
    archive.publish()
    lock = pin(MUSL, store)
    archive.drop("musl-dev", "1.2.3-1")
    archive.add_deb("musl-dev", "1.2.3-2")
    archive.publish()
    ensure(lock, ["musl"], store)  # remembered: that must not help
    with pytest.raises(SourceError) as caught:
        ensure(lock, ["musl"], store, SourcePolicy.LOCKED)
    assert str(caught.value) == (
        "Source 'musl': musl-dev 1.2.3-1 is gone from the archive of Debian 'bookworm', and the lock file is to be"
        " kept to exactly.\n"
        "Without --locked the newest version of the same release is taken; `rumpel lock --update musl` pins it."
    )


def test_old_lists_are_read_anew_before_a_version_counts_as_gone(archive: LocalArchive, store: Store) -> None:
    archive.add_deb("musl-dev", "1")
    archive.publish()
    ensure(pin(MUSL, store), ["musl"], store)
    archive.add_deb("musl-dev", "2")
    archive.publish()
    lock = pin(MUSL, store)
    assert ensure(lock, ["musl"], store).lock == lock


def test_a_version_that_only_old_lists_know_is_gone(archive: LocalArchive, store: Store) -> None:
    archive.add_deb("other", "1")
    archive.add_deb("musl-dev", "1")
    archive.publish()
    lock = pin(MUSL, store)
    ensure(pin(Declaration("other", "deb", "other"), store), ["other"], store)  # the store's own lists know musl-dev 1
    archive.drop("musl-dev", "1")
    archive.add_deb("musl-dev", "2")
    archive.publish()
    (substitution,) = ensure(lock, ["musl"], store).substitutions
    assert substitution.used.version == "2"


def test_the_successor_of_a_package_that_was_followed_is_found_by_its_metapackage(
    archive: LocalArchive, store: Store
) -> None:
    archive.add_deb("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1", b"old")
    archive.add_deb("linux-image-cloud-amd64", "6.1.176-1", depends="linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)")
    archive.publish()
    lock = pin(KERNEL, store)
    (entry,) = lock.entries
    assert entry.package == "linux-image-6.1.0-50-cloud-amd64"
    archive.drop("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1")
    archive.drop("linux-image-cloud-amd64", "6.1.176-1")
    archive.add_deb("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", b"new")
    archive.add_deb("linux-image-cloud-amd64", "6.1.192-2", depends="linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)")
    archive.publish()
    ensured = ensure(lock, ["kernel"], store)
    assert ensured.substitutions[0].sentence() == (
        "linux-image-6.1.0-50-cloud-amd64 6.1.176-1 is gone from the archive;"
        " using linux-image-6.1.0-56-cloud-amd64 6.1.192-2"
    )
    used = ensured.lock.get("kernel")
    assert used is not None
    assert used.pinned_version == "6.1.176-1"


def test_a_pattern_that_no_dependency_matches_is_an_error(archive: LocalArchive, store: Store) -> None:
    archive.add_deb("linux-image-cloud-amd64", "1", depends="something-else")
    archive.publish()
    with pytest.raises(SourceError) as caught:
        pin(KERNEL, store)
    assert str(caught.value) == (
        "Source 'kernel': no dependency of Debian package 'linux-image-cloud-amd64' 1 matched"
        " 'linux-image-*-cloud-amd64'; exactly one must.\n"
        "Correct 'follow' where the source 'kernel' is declared."
    )


def test_a_source_package_is_fetched_and_unpacked_with_its_patches(
    archive: LocalArchive, store: Store, tmp_path: Path
) -> None:
    archive.add_source("database", "3.1-2")
    archive.publish()
    lock = pin(DATABASE, store)
    ensure(lock, ["database"], store)
    tree = unpack(lock.entries[0], store, tmp_path / "trees")
    assert (tree / "main.c").read_text() == "int patched;\n"
    assert [path.name for path in (tmp_path / "trees").iterdir() if not path.name.startswith(".")] == [tree.name]


def test_a_source_package_that_is_gone_is_replaced_too(archive: LocalArchive, store: Store) -> None:
    archive.add_source("database", "3.1-2")
    archive.publish()
    lock = pin(DATABASE, store)
    archive.drop("database", "3.1-2")
    archive.add_source("database", "3.1-3")
    archive.publish()
    used = ensure(lock, ["database"], store).lock.get("database")
    assert used is not None
    assert (used.version, used.pinned_version) == ("3.1-3", "3.1-2")


def test_other_content_for_the_pinned_version_is_an_error_and_the_store_unharmed(
    archive: LocalArchive, store: Store
) -> None:
    data = archive.add_deb("musl-dev", "1")
    archive.publish()
    (entry,) = pin(MUSL, store).entries
    wrong = LockFile(name=entry.files[0].name, sha256="ab" * 32, size=7)
    lock = Lock(entries=(msgspec.structs.replace(entry, files=(wrong,)),))
    with pytest.raises(SourceError) as caught:
        ensure(lock, ["musl"], store)
    assert str(caught.value) == (
        f"'musl-dev_1_amd64.deb' is not what was pinned: its SHA-256 should be {'ab' * 32} (7 bytes) and is"
        f" {sha256(data)} ({len(data)} bytes).\n"
        "It was thrown away and the store is as it was. Fetch again; if it happens again, the mirror or proxy that this"
        " machine uses changes files, or the pin is wrong (`rumpel lock --update NAME` pins anew)."
    )
    assert not [path for path in store.root.rglob("*") if path.is_file() and ".apt" not in path.parts]


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_damaged_download_is_an_error_in_the_words_of_apt_and_the_store_unharmed(
    archive: LocalArchive, store: Store, damage: str
) -> None:
    data = archive.add_deb("musl-dev", "1")
    archive.publish()
    lock = pin(MUSL, store)
    changed = data[: len(data) // 2] if damage == "truncated" else data[:-1] + bytes([data[-1] ^ 1])
    (archive.root / "debian/pool/main/musl-dev_1_amd64.deb").write_bytes(changed)
    with pytest.raises(SourceError) as caught:
        ensure(lock, ["musl"], store)
    assert caught.value.message.startswith(
        "Source 'musl': 'musl-dev' 1 could not be fetched. 'apt-get' ended with status 100 and said:\n    E: "
    )
    assert "unexpected size" in caught.value.message or "Hash Sum mismatch" in caught.value.message
    assert caught.value.hint == "Try again; `rumpel fetch all` fetches only what is still missing."
    assert not store.has(lock.entries[0].files[0])


def test_an_archive_with_a_wrong_signature_is_never_used(archive: LocalArchive, store: Store) -> None:
    archive.add_deb("musl-dev", "1")
    archive.publish()
    lock = pin(MUSL, store)
    release = archive.root / "debian/dists/bookworm/InRelease"
    release.write_text(release.read_text().replace("Label: Debian", "Label: Sebian"))
    (archive.root / "debian/dists/bookworm/Release").unlink()
    with pytest.raises(SourceError) as caught:
        ensure(lock, ["musl"], store)
    assert caught.value.message.startswith("The package lists of Debian 'bookworm' could not be read. 'apt-get' ended")
    assert "signature" in caught.value.message
    assert "`apt-get update` shows the same" in caught.value.hint


def test_an_archive_marked_as_trusted_by_the_machine_is_still_verified(
    archive: LocalArchive, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add_deb("musl-dev", "1")
    archive.publish()
    sources = f"Types: deb\nURIs: {archive.uri}\nSuites: bookworm\nComponents: main\nTrusted: yes\n"
    configuration = set_up_apt(tmp_path / "trusting", sources)
    with configuration.open("a") as stream:
        stream.write('APT::Get::AllowUnauthenticated "true";\nAcquire::AllowInsecureRepositories "true";\n')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    with pytest.raises(SourceError, match="package lists of Debian 'bookworm' could not be read"):
        update(Lock(), [MUSL], ["musl"], store=store)


def test_a_newer_debian_gives_the_same_release(
    archive: LocalArchive, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add_deb("musl-dev", "1")
    archive.publish()
    lock = pin(MUSL, store)
    sources = f"Types: deb\nURIs: {archive.uri}\nSuites: trixie\nComponents: main\nSigned-By: {archive.keyring}\n"
    monkeypatch.setenv("APT_CONFIG", str(set_up_apt(tmp_path / "newer", sources)))
    assert ensure(lock, ["musl"], store).lock == lock


def test_packages_of_third_parties_are_neither_used_nor_needed(
    archive: LocalArchive, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add_deb("musl-dev", "1")
    archive.publish()
    stranger = LocalArchive(tmp_path / "stranger", origin="Somebody")
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger/gnupg").symlink_to(archive.root / "gnupg")
    stranger.add_deb("musl-dev", "99")
    stranger.publish()
    options = f"Components: main\nSigned-By: {archive.keyring}\n"
    sources = (
        f"Types: deb\nURIs: {archive.uri} {stranger.uri}\nSuites: bookworm\n{options}\n"
        f"Types: deb\nURIs: file:{tmp_path}/nowhere\nSuites: bookworm\n{options}\n"
        f"Types: deb\nURIs: file:{tmp_path}/nodistro\nSuites: nodistro\n{options}\n"
    )
    monkeypatch.setenv("APT_CONFIG", str(set_up_apt(tmp_path / "mixed", sources)))
    (entry,) = update(Lock(), [MUSL], ["musl"], store=store).entries
    assert entry.version == "1"
    ensure(Lock(entries=(entry,)), ["musl"], store)


def test_a_machine_without_debian_sources_is_told_so(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = f"Types: deb\nURIs: file:{tmp_path}/ubuntu\nSuites: jammy\nComponents: main\n"
    monkeypatch.setenv("APT_CONFIG", str(set_up_apt(tmp_path / "machine", sources)))
    with pytest.raises(SourceError) as caught:
        update(Lock(), [MUSL], ["musl"], store=store)
    assert str(caught.value) == (
        "apt on this machine names no package source of Debian, so Debian packages cannot be fetched.\n"
        "Add Debian's archive to the machine's apt sources (sources.list(5)); any release of Debian will do,"
        " 'bookworm' is then found at the same mirror."
    )


def test_a_package_that_the_release_lacks_is_an_error(archive: LocalArchive, store: Store) -> None:
    archive.add_deb("musl-dev", "1")
    archive.publish()
    with pytest.raises(SourceError) as caught:
        update(Lock(), [Declaration("glibc", "deb", "glibx")], ["glibc"], store=store)
    assert str(caught.value) == (
        "Source 'glibc': Debian 'bookworm' has no package 'glibx' at the mirrors of this machine.\n"
        "Check the name, or whether the machine's apt sources hold all of the release."
    )


def test_a_source_that_is_not_pinned_is_an_error(store: Store) -> None:
    with pytest.raises(SourceError) as caught:
        ensure(Lock(), ["musl"], store)
    assert str(caught.value) == ("Source 'musl' is not pinned in the lock file.\n`rumpel lock --update musl` pins it.")


def test_a_name_that_no_part_declares_is_an_error(store: Store) -> None:
    with pytest.raises(SourceError) as caught:
        update(Lock(), [MUSL], ["mussel"], store=store)
    assert str(caught.value) == "No part declares a source 'mussel'.\nDid you mean 'musl'?"


def test_offline_names_what_is_missing(store: Store) -> None:
    file = LockFile(name="m.deb", sha256="0" * 64, size=1)
    entry = LockEntry(name="musl", kind="deb", package="musl-dev", version="1", files=(file,), release="bookworm")
    with pytest.raises(SourceError) as caught:
        ensure(Lock(entries=(entry,)), ["musl"], store, SourcePolicy.OFFLINE)
    assert str(caught.value) == (
        f"Source 'musl' (musl-dev 1) is not in the store '{store.root}', and nothing may be fetched.\n"
        "`rumpel fetch all` on a machine with a network brings everything."
    )


def test_a_local_file_is_pinned_by_its_content(store: Store, tmp_path: Path) -> None:
    (tmp_path / "settings.conf").write_text("one")
    declaration = Declaration("settings", "file", "settings.conf")
    lock = update(Lock(), [declaration], ["settings"], store=store, project=tmp_path)
    assert ensure(lock, ["settings"], store, project=tmp_path).lock == lock
    (tmp_path / "settings.conf").write_text("two")
    with pytest.raises(SourceError) as caught:
        ensure(lock, ["settings"], store, project=tmp_path)
    assert str(caught.value) == (
        f"Source 'settings': '{tmp_path}/settings.conf' is not what was pinned: its SHA-256 should be {sha256(b'one')}"
        f" and is {sha256(b'two')}.\n"
        "If the change is meant, `rumpel lock --update settings` pins the file as it is now."
    )


def test_nothing_to_fetch_takes_no_time_and_imports_nothing_heavy(archive: LocalArchive, store: Store) -> None:
    archive.add_deb("musl-dev", "1")
    archive.publish()
    lock = pin(MUSL, store)
    ensure(lock, ["musl"], store)
    lock_file = store.root.parent / "rumpel.lock"
    lock_file.write_bytes(lock.to_json())
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from rumpel.model.lock import load_lock\nfrom rumpel.sources import Store, ensure\n"
        "lock = load_lock(Path(sys.argv[1]))\nbegin = time.process_time()\n"
        "ensure(lock, ['musl'], Store(Path(sys.argv[2])))\nspent = time.process_time() - begin\n"
        "assert spent < 0.010, spent\n"
        "heavy = {'filelock', 'tarfile', 'debian', 'rumpel.sources.apt'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    command = [sys.executable, "-c", script, str(lock_file), str(store.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
