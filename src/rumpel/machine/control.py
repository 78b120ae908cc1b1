"""The guest's side of the control channel: lines that say how the program fares.

The protocol stands in docs/architecture.md, "What passes between host and guest". The guest is not trusted: a line
that is too long or makes no sense is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rumpel.errors import printable

MAX_LINE = 256
MAX_PORTS = 256


@dataclass
class Report:
    """What the guest has said so far. `status` is the program's exit status, `failure` why it could not be run,
    `panic` why the kernel gave up, `renewed` that it took a clock and a seed of its own. `tells_ports`: it says on
    which TCP ports the program listens, which are in `listening`."""

    started: bool = False
    tells_ports: bool = False
    listening: frozenset[int] = field(default_factory=frozenset)
    status: int | None = None
    failure: str = ""
    panic: str = ""
    renewed: bool = False


class ControlReader:
    """Cuts the channel's bytes into lines and keeps what they say in `report`."""

    def __init__(self) -> None:
        self.report = Report()
        self._line = bytearray()
        self._dropping = False

    def begin_again(self, report: Report) -> None:
        """The guest is another one now, which has reported so much; half a line of the old one is dropped."""
        self.report = report
        self._line.clear()
        self._dropping = False

    def feed(self, data: bytes) -> None:
        *complete, rest = data.replace(b"\r", b"").split(b"\n")
        for piece in complete:
            self._add(piece)
            if not self._dropping:
                self._take(printable(self._line.decode("utf-8", "replace")))
            self._line.clear()
            self._dropping = False
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        self._line += piece[: MAX_LINE + 1]
        if len(self._line) > MAX_LINE:
            self._line.clear()
            self._dropping = True

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "start" if rest in ("", "listen"):
                self.report.started = True
                self.report.tells_ports = rest == "listen"
            case "listen" if rest.isascii() and rest.isdigit() and 0 < int(rest) < 1 << 16:
                if len(self.report.listening) < MAX_PORTS:
                    self.report.listening |= {int(rest)}
            case "renewed" if not rest:
                self.report.renewed = True
            case "exit" if rest.isascii() and rest.isdigit() and int(rest) <= 255:
                self.report.status = int(rest)
            case "fail":
                self.report.failure = rest or "the guest did not say why"
            case "panic":
                self.report.panic = rest or "the kernel did not say why"
