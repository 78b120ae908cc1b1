"""What SCons is told about change: a file by what is in it, and what a build made by whether it is still that.

SCons asks for each file that a piece is made of, and for the value that stands for its step.
"""

from __future__ import annotations

from typing import Any

from rumpel.build.digests import Digests


class Decider:
    """Answers from the digests of this build's files."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests

    def file_changed(self, file: Any, target: Any, recorded: Any, repository: Any = None) -> bool:
        """Whether a file is another one than the one that `target` was made of. SCons keeps the digest with the file:
        it goes into the names of the cache's entries, and into the record of what `target` is made of now."""
        known = file.get_ninfo()
        path = file.get_abspath()
        if not file.has_builder():
            sha256 = self._digests.source(path)
        elif hasattr(known, "csig"):
            sha256 = known.csig
            self._digests.made(path, known.csig)
        else:
            sha256 = self._digests.product(path)
        if sha256 is None:
            return bool(file.get_csig() != getattr(recorded, "csig", None))
        known.csig = sha256
        return bool(sha256 != getattr(recorded, "csig", None))

    def step_changed(self, step: Any, target: Any, recorded: Any, repository: Any = None) -> bool:
        """Whether `target` is to be made by another step than it was, or is not what was made: a build was killed
        before its record was written, or somebody wrote into the folder `build`."""
        if step.get_csig() != getattr(recorded, "csig", None):
            return True
        made = getattr(target.get_stored_info().ninfo, "csig", None)
        return bool(self._digests.product(target.get_abspath()) != made)
