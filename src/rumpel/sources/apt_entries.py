"""Which of the machine's package sources are Debian's, and what they are for another release.

Reads both forms of sources.list(5): one line an entry (`.list`) and deb822 (`.sources`). Pure: text in, entries out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rumpel.sources.control import paragraphs

# What a suite of Debian may be called, and which of its pockets we use: backports and proposed updates are left out.
_SUITE = re.compile(
    r"(?:oldoldstable|oldstable|stable|testing|unstable|sid"
    r"|buster|bullseye|bookworm|trixie|forky|duke)(?P<pocket>-updates|-security|/updates|)"
)

# Options that say how a source is reached and verified. All that would weaken the verification (`Trusted`,
# `Allow-Insecure`, ...) and all that would choose other indexes (`Architectures`, `Targets`, ...) is left out.
_OPTIONS = ("Signed-By", "Check-Valid-Until", "Valid-Until-Min", "Valid-Until-Max", "Check-Date", "By-Hash")
_OPTION_NAMES = {name.lower(): name for name in _OPTIONS}


@dataclass(frozen=True)
class AptEntry:
    """One suite at one address: `uri` as the machine's administrator wrote it, `options` as (field, value)."""

    uri: str
    suite: str
    options: tuple[tuple[str, str], ...] = ()

    def key(self) -> tuple[str, str]:
        """What makes it the same source: address and suite."""
        return (self.uri.rstrip("/"), self.suite)

    def pocket(self) -> str:
        """Which part of the release it is: "" (the release itself), "-updates" or "-security"."""
        match = _SUITE.fullmatch(self.suite)
        pocket = match["pocket"] if match else ""
        return "-security" if pocket == "/updates" else pocket

    def stanza(self) -> str:
        """The deb822 form, for binary and source packages of component `main`."""
        lines = ["Types: deb deb-src", f"URIs: {self.uri}", f"Suites: {self.suite}", "Components: main"]
        lines += [f"{name}: {value}" for name, value in self.options]
        return "\n".join(lines) + "\n"


def read_list(text: str) -> Iterator[AptEntry]:
    """The entries of a one-line-style file that look like Debian's own."""
    for line in text.splitlines():
        match = re.fullmatch(r"(?:deb|deb-src)\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<rest>.+)", _uncommented(line))
        if match is None:
            continue
        uri, *words = match["rest"].split()
        if len(words) < 2 or "main" not in words[1:]:
            continue
        options = []
        for option in (match["options"] or "").split():
            name, _, value = option.partition("=")
            if name.lower() in _OPTION_NAMES:
                options.append((_OPTION_NAMES[name.lower()], value.replace(",", " ")))
        yield from _if_debian(uri, words[0], tuple(options))


def read_sources(text: str) -> Iterator[AptEntry]:
    """The entries of a deb822-style file that look like Debian's own."""
    for paragraph in paragraphs(text):
        if paragraph.get("Enabled").lower() in ("no", "false", "0", "off", "without", "disable"):
            continue
        if "main" not in paragraph.words("Components"):
            continue
        options = tuple((name, paragraph.get(name)) for name in _OPTIONS if paragraph.get(name))
        for uri in paragraph.words("URIs"):
            for suite in paragraph.words("Suites"):
                yield from _if_debian(uri, suite, options)


def for_release(entries: Iterable[AptEntry], release: str) -> tuple[AptEntry, ...]:
    """The same sources for `release`: only the suites' names change, each address and suite stands once.

    Where the machine names a pocket of this very release, other releases' entries for that pocket are left out.
    """
    found = list(entries)
    own = {entry.pocket() for entry in found if entry.suite.startswith(release)}
    chosen: dict[tuple[str, str], AptEntry] = {}
    for entry in found:
        if entry.pocket() in own and not entry.suite.startswith(release):
            continue
        moved = AptEntry(entry.uri, release + entry.pocket(), entry.options)
        chosen.setdefault(moved.key(), moved)
    return tuple(chosen.values())


def _if_debian(uri: str, suite: str, options: tuple[tuple[str, str], ...]) -> Iterator[AptEntry]:
    if _SUITE.fullmatch(suite) and not uri.startswith("cdrom:"):
        yield AptEntry(uri, suite, options)


def _uncommented(line: str) -> str:
    return line.split("#", 1)[0].strip()
