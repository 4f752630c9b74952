"""The replayed market's instruments beside its candles, as `alpha data download` would write them."""

import json
from pathlib import Path

from backtester.instruments import FILE
from exchange_simulator.market.replay import open_folder
from exchange_simulator.rest.market import instrument_row


def with_instruments(candles: Path, folder: Path, symbols: tuple[str, ...] = ()) -> Path:
    """A folder with these candles (of `symbols`; empty: all) and the filters that the exchange will have for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(candles.iterdir()):
        if path.name.endswith((".csv", ".csv.gz")) and (not symbols or path.name.split(".")[0] in symbols):
            (folder / path.name).symlink_to(path)
    market = open_folder(folder)
    rows = [instrument_row(instrument, market.first_ms) for instrument in market.instruments.values()]
    (folder / FILE).write_text(json.dumps(rows))
    return folder
