"""The back-tester: the strategies that trade live, over historical candles.

| module | holds |
|---|---|
| candles.py, folder.py | candles: checked, named by a fingerprint, read from and written to a folder |
| funding.py, instruments.py | what else is known of a market: funding rates, the exchange's filters |
| market.py | all of it together, and which symbols belonged to it when |
| holding.py, venue.py | the exchange as a back-test needs it: money, positions, levels, what a price does to them |
| engine.py, equity.py, result.py | the bars through the decision core; the account at every close; the outcome |
| measures.py, description.py | figures of a result, and what produced it |
| terminal.py, charts.py, page.py, report.py | the report |
| command.py | `alpha backtest` |
| download.py, download_command.py | `alpha data download` |
"""
