"""A dialog with the guest over its console, by pexpect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pexpect import EOF, TIMEOUT  # type: ignore[import-untyped]
from pexpect.spawnbase import SpawnBase  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from rumpel.harness.vm import Vm

# What pexpect reads at once and what it searches again for each reading: a console that bursts stays cheap.
MAXREAD = 1 << 16
SEARCH_WINDOW = 1 << 13
_FOREVER = 1e9  # seconds


class Dialog(SpawnBase):  # type: ignore[misc]  # pexpect has no types
    """pexpect's `expect` and friends over the console of `vm`."""

    def __init__(self, vm: Vm, *, timeout: float, **options: Any) -> None:
        words = {
            "maxread": MAXREAD,
            "searchwindowsize": SEARCH_WINDOW,
            "encoding": "utf-8",
            "codec_errors": "replace",
            **options,
        }
        super().__init__(timeout=timeout, **words)
        self.name = f"console of '{vm.name}'"
        self._vm = vm
        self._position = vm.console.position

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> Any:
        """What came, at most `size` bytes of it; pexpect calls it. Raises its TIMEOUT and EOF, and
        MachineError where the machine crashed."""
        limit = self.timeout if timeout == -1 else timeout
        data = self._vm.console.read_more(self._position, _FOREVER if limit is None else max(0.0, limit))[:size]
        if not data:
            if not self._vm.ended:
                raise TIMEOUT(f"nothing came from the {self.name} within {limit:g} s")
            self._vm.raise_crash()
            self.flag_eof = True
            raise EOF(f"the {self.name} has ended")
        self._position += len(data)
        text = self._decoder.decode(data, final=False)
        self._log(text, "read")
        return text

    def send(self, text: str) -> int:
        """Type `text`; how many characters that are."""
        self._log(text, "send")
        self._vm.console.type(text)
        return len(text)

    def sendline(self, text: str = "") -> int:
        """Type `text` and the end of the line."""
        return self.send(text + self.linesep)

    def write(self, text: str) -> None:
        """As `send`."""
        self.send(text)

    def isalive(self) -> bool:
        """Whether the machine runs."""
        return not self._vm.ended
