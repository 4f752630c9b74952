"""`python -m alpha`: same as the command `alpha`, where its package is installed."""

import runpy

runpy.run_module("alpha_cli", run_name="__main__")
