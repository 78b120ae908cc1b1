"""A guest book: JSON over HTTP on port 80, in memory. Bottle routes, waitress serves."""

import signal
import sys

from guestbook import application
from waitress.server import create_server


def main() -> None:
    server = create_server(application(), host="0.0.0.0", port=80, threads=4, ident=None)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    print("python-http listens")
    server.run()


main()
