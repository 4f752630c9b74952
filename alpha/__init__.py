"""The shared library that every service and every strategy builds on."""

import gc

# Imported modules are tens of thousands of objects that stay: the default of 700 scans them again and again at every start.
gc.set_threshold(20_000, 20, 20)
