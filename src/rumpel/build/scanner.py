"""Finds what a C source needs besides itself: the headers that it includes, and the files that its assembly embeds."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.MULTILINE)
_SOURCES = frozenset({".c", ".h", ".inc", ".S"})


def included(text: str) -> list[str]:
    """The names in the `#include` lines of a C source, in their order, each once."""
    return list(dict.fromkeys(_INCLUDE.findall(text)))


def embeds(text: str) -> bool:
    """Whether a C source embeds files (`.incbin`, GNU as). Their names may be put together by macros."""
    return ".incbin" in text


def make_scanner() -> Any:
    """A scanner for SCons. A source that embeds files depends on every file beside the headers of `CPPPATH`: that
    can only build too much, never too little. Needs `RUMPEL_SESSION`, as the builders do."""
    from SCons.Node.FS import find_file  # type: ignore[import-untyped]
    from SCons.Scanner import FindPathDirs, ScannerBase  # type: ignore[import-untyped]

    def scan(node: Any, env: Any, path: tuple[Any, ...]) -> list[Any]:
        if PurePath(node.name).suffix not in _SOURCES or not node.exists():
            return []
        if not node.has_builder():
            env["RUMPEL_SESSION"].digests.look(node.get_abspath())
        text = node.get_text_contents()
        places = (node.dir, *path)
        found = [file for name in included(text) if (file := find_file(name, places)) is not None]
        if embeds(text):
            for folder in places:
                found += [file for file in folder.glob("*") if PurePath(file.name).suffix not in _SOURCES]
        return [file for file in dict.fromkeys(found) if file.isfile() or file.is_derived()]

    return ScannerBase(function=scan, name="C", path_function=FindPathDirs("CPPPATH"), recursive=True)
