"""`python -m rumpel`, and the installed program `rumpel`: the command line."""

import sys

from rumpel.cli.main import main as run


def main() -> int:
    """The command line with this process's words; its exit status."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
