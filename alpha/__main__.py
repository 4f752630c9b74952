"""`python -m alpha`: the same as the command `alpha`."""

import sys

from alpha.cli.main import main

sys.exit(main())
