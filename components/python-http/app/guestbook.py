"""The guest book itself: what is said at which address."""

import itertools
import threading
import time

import bottle

LONGEST_TEXT = 500
MOST_ENTRIES = 1000


class GuestBook:
    """The last entries; several threads may use it."""

    def __init__(self) -> None:
        self._entries: dict[int, dict[str, object]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, name: str, text: str) -> dict[str, object]:
        """Write an entry; the oldest goes where there are too many."""
        with self._lock:
            number = next(self._numbers)
            entry = {"id": number, "name": name, "text": text, "time": int(time.time())}
            self._entries[number] = entry
            while len(self._entries) > MOST_ENTRIES:
                del self._entries[next(iter(self._entries))]
            return entry

    def all(self) -> list[dict[str, object]]:
        """Every entry, oldest first."""
        with self._lock:
            return list(self._entries.values())

    def get(self, number: int) -> dict[str, object] | None:
        """The entry with that number; None where there is none."""
        with self._lock:
            return self._entries.get(number)


def application() -> bottle.Bottle:
    """The WSGI application."""
    book = GuestBook()
    app = bottle.Bottle()

    @app.get("/health")
    def health() -> dict[str, object]:
        return {"status": "ok"}

    @app.get("/entries")
    def entries() -> dict[str, object]:
        return {"entries": book.all()}

    @app.get("/entries/<number:int>")
    def entry(number: int) -> dict[str, object]:
        found = book.get(number)
        if found is None:
            raise bottle.HTTPError(404, f"There is no entry {number}.")
        return found

    @app.post("/entries")
    def write() -> dict[str, object]:
        asked = bottle.request.json
        if not isinstance(asked, dict):
            raise bottle.HTTPError(400, "The body must be a JSON object.")
        bottle.response.status = 201
        return book.add(_text(asked, "name"), _text(asked, "text"))

    app.default_error_handler = _say
    return app


def _text(asked: dict[str, object], key: str) -> str:
    value = asked.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT:
        raise bottle.HTTPError(400, f"'{key}' must be text of 1 to {LONGEST_TEXT} characters.")
    return value.strip()


def _say(error: bottle.HTTPError) -> str:
    bottle.response.content_type = "application/json"
    return bottle.json_dumps({"error": error.body})
