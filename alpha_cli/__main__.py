"""`python -m alpha_cli`: same as the command `alpha`."""

import sys

from alpha_cli.main import main

sys.exit(main())
