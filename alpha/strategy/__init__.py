"""What a strategy is, and the decision core that the live runtime and the back-tester share. Pure: no I/O, no clock.

| module | holds |
|---|---|
| contract.py | `Strategy`, its parameters, its state, and what it sees at a bar's close |
| bars.py | candles as arrays, indicators beside them, one bar as a view |
| intents.py | what a strategy can want: `Enter`, `Exit`, `MoveStop`, `MoveTarget`, `CancelEntry`, and size rules |
| resting.py | orders that wait on the exchange: entries and targets |
| rules.py | account rules: leverage, cooldown, limits |
| positions.py | a position of the bot's own making, and its levels on the exchange |
| limits.py | loss limits and the open-profit limit, with durable references |
| core.py | `DecisionCore`: a closed bar in, orders out |
| outcomes.py | its other half: fills in, positions, targets and what the exchange must be told out |
| parameters.py | parameters from the environment and from `--set key=value` |
"""
