"""`python -m rumpel`: the command line."""

import sys

from rumpel.cli.main import main

sys.exit(main(sys.argv[1:]))
