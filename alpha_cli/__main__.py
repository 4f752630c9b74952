"""`python -m alpha`: the same as the command `alpha`."""

import sys

from alpha_cli.main import main

sys.exit(main())
