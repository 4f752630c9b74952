"""Imported last by the process that strategy workers are forked from: what is loaded stays shared memory.

The garbage collector writes into every object it looks at, which would copy the page it is on in each worker.
"""

import gc

gc.collect()
gc.freeze()
