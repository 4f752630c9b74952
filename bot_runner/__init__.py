"""Runs one strategy as a bot: candles in, orders out, state durable before it acts.

| module | holds |
|---|---|
| start.py, app.py | the process: settings, checks, the end |
| crew.py, loop_live.py, loop_step.py | the loop: on a running market, and in step clock |
| settings.py | what can be set |
| feed.py | closed candles in memory, without gaps |
| account.py | what the account holds: from live state, or from REST where that cannot be trusted |
| broker.py | orders, stops and their outcomes |
| trader.py | a cycle: reconcile, limits, bars |
| execute.py, entries.py | carrying out exits and stops; carrying out entries |
| takeup.py | own positions taken up again, exits explained, unknown ones left alone |
| state.py, store.py, lease.py | durable state, and who may write it |
| commands.py | pause, resume, adopt |
| step.py | the step clock of a simulated exchange |
| begin.py, checks.py | with which state a bot begins, and what must be in order first |
"""
