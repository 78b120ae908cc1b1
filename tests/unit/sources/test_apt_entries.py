"""Which of a machine's package sources are taken for Debian's, and what they become for the release that is pinned."""

from __future__ import annotations

from rumpel.sources.apt_entries import AptEntry, for_release, read_list, read_sources

DEBIAN = "http://mirror.invalid/debian"
SECURITY = "http://mirror.invalid/debian-security"


def test_one_line_entries_are_read_with_their_options() -> None:
    text = f"""
# deb {DEBIAN} buster main
deb [arch=amd64 signed-by=/usr/share/keyrings/d.gpg trusted=yes] {DEBIAN} bookworm main contrib # a mirror
deb-src {DEBIAN} bookworm main
deb {SECURITY} bookworm-security main
deb {DEBIAN} bookworm-backports main
deb cdrom:[Debian]/ bookworm main
deb {DEBIAN} bookworm contrib
deb {DEBIAN} ./
deb http://packages.invalid/apt cloud-sdk-bookworm main
"""
    assert list(read_list(text)) == [
        AptEntry(DEBIAN, "bookworm", (("Signed-By", "/usr/share/keyrings/d.gpg"),)),
        AptEntry(DEBIAN, "bookworm"),
        AptEntry(SECURITY, "bookworm-security"),
    ]


def test_deb822_entries_are_read_with_their_options() -> None:
    text = f"""
Types: deb
# a comment
URIs: {DEBIAN}
Suites: bookworm bookworm-updates
 bookworm-backports
Components: main non-free-firmware
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
Trusted: yes

Enabled: no
Types: deb
URIs: {SECURITY}
Suites: bookworm-security
Components: main

Types: deb
URIs: http://packages.invalid/node
Suites: nodistro
Components: main
"""
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc"
    entries = list(read_sources(text))
    assert [(entry.uri, entry.suite) for entry in entries] == [(DEBIAN, "bookworm"), (DEBIAN, "bookworm-updates")]
    assert entries[0].options == (("Signed-By", key),)
    assert entries[0].stanza() == (
        f"Types: deb deb-src\nURIs: {DEBIAN}\nSuites: bookworm\nComponents: main\nSigned-By: {key}\n"
    )


def test_another_releases_suites_are_renamed_and_stand_once() -> None:
    entries = [
        AptEntry(DEBIAN, "trixie"),
        AptEntry(DEBIAN + "/", "sid"),
        AptEntry(DEBIAN, "trixie-updates"),
        AptEntry(SECURITY, "stable-security"),
        AptEntry(SECURITY, "buster/updates"),
    ]
    assert [(entry.uri, entry.suite) for entry in for_release(entries, "bookworm")] == [
        (DEBIAN, "bookworm"),
        (DEBIAN, "bookworm-updates"),
        (SECURITY, "bookworm-security"),
    ]


def test_a_machine_that_has_the_release_is_left_to_its_own_entries() -> None:
    other = "http://other.invalid/debian"
    entries = [AptEntry(DEBIAN, "bookworm"), AptEntry(other, "trixie"), AptEntry(SECURITY, "trixie-security")]
    assert for_release(entries, "bookworm") == (
        AptEntry(DEBIAN, "bookworm"),
        AptEntry(SECURITY, "bookworm-security"),
    )
