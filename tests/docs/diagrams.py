"""The documents' diagrams as SVG files: `python -m tests.docs.diagrams` writes docs/img/diagrams/."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import schemdraw
from schemdraw import elements, flow

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "img" / "diagrams"
#: Colour of a box by what it stands for; dark text is readable on each.
COLOURS = {"ours": "#d7eadf", "store": "#dbe4f3", "outside": "#eeeeee", "person": "#f6e7cf", "state": "#d7eadf"}
_WIDTH, _HEIGHT = 5.6, 1.5
_COLUMN, _ROW = 9.4, 3.0


@dataclass
class Diagram:
    """Boxes on a grid of columns and rows, joined by labelled arrows."""

    drawing: Any = field(default_factory=lambda: schemdraw.Drawing(show=False))
    boxes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.drawing.config(fontsize=12, font="sans-serif", bgcolor="white", color="#333333", lw=1.2)

    def box(self, column: float, row: float, text: str, kind: str = "ours") -> None:
        """A box at a place of the grid; its first line is its name. `kind` is a key of COLOURS."""
        shape = flow.RoundBox if kind in {"person", "state"} else flow.Box
        made = shape(w=_WIDTH, h=_HEIGHT).label(escape(text)).fill(COLOURS[kind])
        place = (column * _COLUMN, -row * _ROW)
        self.boxes[text.split("\n")[0]] = self.drawing.add(made.at(place).anchor("center"))

    def arrow(self, start: str, end: str, label: str = "", sides: str = "EW", *, shift: float = 0.0) -> None:
        """An arrow between two boxes; `sides` are the compass letters where it leaves and where it arrives.

        `shift` moves both ends along their sides, so that two arrows between the same boxes do not overlap.
        """
        first, last = (self._anchor(name, side, shift) for name, side in zip((start, end), sides, strict=True))
        line = elements.Line(arrow="->").at(first).to(last)
        if label:
            upright = sides in {"NS", "SN"}
            line = line.label(escape(label), loc="bottom" if upright else "top", fontsize=10, ofst=0.15, rotate=False)
        self.drawing.add(line)

    def _anchor(self, name: str, side: str, shift: float) -> tuple[float, float]:
        point = getattr(self.boxes[name], side)
        return (point[0] + shift, point[1]) if side in "NS" else (point[0], point[1] + shift)

    def svg(self) -> bytes:
        """The file's content."""
        return bytes(self.drawing.get_imagedata("svg"))


def parts() -> Diagram:
    """The services and what flows between them."""
    d = Diagram()
    d.box(0, 0, "bot\nbot_runner + strategy")
    d.box(1, 0, "Bybit\nREST and streams", "outside")
    d.box(2, 0, "websocket_listener\nthe only writer of fills")
    d.box(0, 1, "Redis\nlive state, control", "store")
    d.box(2, 1, "PostgreSQL\nthe permanent record", "store")
    d.box(1, 1, "risk_guard\nlimits, stops, flatten")
    d.box(0, 2, "telegram_manager\ncommands, alerts")
    d.box(1, 2, "operator\nTelegram, dashboard, psql", "person")
    d.box(2, 2, "trade_sync_service\nreconciliation")
    d.arrow("bot", "Bybit", "orders with stop")
    d.arrow("Bybit", "websocket_listener", "executions, orders")
    d.arrow("websocket_listener", "PostgreSQL", "fills", "SN")
    d.arrow("Redis", "bot", "positions, candles", "NS")
    d.arrow("risk_guard", "Bybit", "close, repair stop", "NS")
    d.arrow("Redis", "risk_guard", "marks")
    d.arrow("risk_guard", "PostgreSQL", "halts")
    d.arrow("telegram_manager", "Redis", "pause, flatten", "NS")
    d.arrow("operator", "telegram_manager", "/stop", "WE")
    d.arrow("trade_sync_service", "PostgreSQL", "closed P&L", "NS")
    return d


def order_to_ledger() -> Diagram:
    """From a closed candle to the ledger."""
    d = Diagram()
    d.box(0, 0, "candle\nclosed, in business time", "outside")
    d.box(1, 0, "strategy\nintent with tag and reason")
    d.box(2, 0, "risk limits\nsize, caps, halts, lease")
    d.box(2, 1, "strategy_state\norder_intents: durable first", "store")
    d.box(1, 1, "place_order\nsigned, idempotent id")
    d.box(0, 1, "exchange\nmatches the order", "outside")
    d.box(0, 2, "execution\nprivate stream or REST", "outside")
    d.box(1, 2, "trading.fills\none row per execution", "store")
    d.box(2, 2, "ledger\nround trips, daily totals", "store")
    d.arrow("candle", "strategy")
    d.arrow("strategy", "risk limits")
    d.arrow("risk limits", "strategy_state", "saved first", "SN")
    d.arrow("strategy_state", "place_order", "", "WE")
    d.arrow("place_order", "exchange", "", "WE")
    d.arrow("exchange", "execution", "", "SN")
    d.arrow("execution", "trading.fills", "insert once")
    d.arrow("trading.fills", "ledger", "same transaction")
    return d


def flatten() -> Diagram:
    """How /flatten closes a bot's positions."""
    d = Diagram()
    d.box(0, 0, "operator\n/flatten, then Yes", "person")
    d.box(1, 0, "command centre\naudit, one-time button")
    d.box(2, 0, "control:guard\nexpires after 60 s", "store")
    d.box(2, 1, "guard\nholds the account's lease")
    d.box(1, 1, "halt\ndurable: no entries", "store")
    d.box(0, 1, "bot\nstopped if it does not answer")
    d.box(0, 2, "cancel\nresting orders")
    d.box(1, 2, "close\nreduce-only, in slices")
    d.box(2, 2, "flat\nconfirmed for one minute", "state")
    d.arrow("operator", "command centre")
    d.arrow("command centre", "control:guard")
    d.arrow("control:guard", "guard", "", "SN")
    d.arrow("guard", "halt", "first", "WE")
    d.arrow("halt", "bot", "", "WE")
    d.arrow("bot", "cancel", "", "SN")
    d.arrow("cancel", "close")
    d.arrow("close", "flat", "read again")
    return d


def backup_and_restore() -> Diagram:
    """The nightly backup, its rehearsal, and the way back."""
    d = Diagram()
    d.box(0, 0, "PostgreSQL\none snapshot", "store")
    d.box(1, 0, "pg_dump\nwith counts and sums")
    d.box(2, 0, "backup\nverified, then renamed", "store")
    d.box(2, 1, "rehearsal\nweekly, scratch database")
    d.box(1, 1, "restore\nbeside the old database")
    d.box(0, 1, "migrate\nschema of this version")
    d.box(0, 2, "listener\nbackfills from Bybit")
    d.box(1, 2, "reconciliation\nbooks equal the exchange", "state")
    d.arrow("PostgreSQL", "pg_dump")
    d.arrow("pg_dump", "backup")
    d.arrow("backup", "rehearsal", "compared", "SN")
    d.arrow("backup", "restore", "lost disk", "SE")
    d.arrow("restore", "migrate", "", "WE")
    d.arrow("migrate", "listener", "", "SN")
    d.arrow("listener", "reconciliation")
    return d


def connection() -> Diagram:
    """The states of an account's live state."""
    d = Diagram()
    d.box(0, 0, "down\nno connection", "state")
    d.box(1, 0, "stale\nconnected, not audited", "state")
    d.box(2, 0, "synced\naudited within 30 s", "state")
    d.box(1, 1, "audit\nREST against Redis")
    d.arrow("down", "stale", "login, subscribe", shift=0.35)
    d.arrow("stale", "down", "silent, rejected", "WE", shift=-0.35)
    d.arrow("synced", "stale", "gap, audit overdue", "WE", shift=-0.35)
    d.arrow("stale", "audit", "", "SN")
    d.arrow("audit", "synced", "no difference", "ES")
    return d


def schema() -> Diagram:
    """The main tables and how they follow from each other."""
    d = Diagram()
    d.box(0, 0, "bots\nbots.toml", "store")
    d.box(1, 0, "accounts\nenvironment, userID", "store")
    d.box(2, 0, "strategy_state\nleases, halts", "store")
    d.box(0, 1, "orders\nlast state", "store")
    d.box(1, 1, "fills\none per execution", "store")
    d.box(2, 1, "completed_trades\nBybit's closed P&L", "store")
    d.box(0, 2, "position_states\nper leg", "store")
    d.box(1, 2, "round_trips\nflat to flat", "store")
    d.box(2, 2, "daily_totals\ndaily_exits, daily_equity", "store")
    d.arrow("bots", "accounts", "trades on")
    d.arrow("accounts", "strategy_state")
    d.arrow("accounts", "fills", "", "SN")
    d.arrow("accounts", "orders", "", "SN")
    d.arrow("accounts", "completed_trades", "", "SN")
    d.arrow("fills", "position_states", "replayed into", "SN")
    d.arrow("position_states", "round_trips", "ends as")
    d.arrow("round_trips", "daily_totals", "summed in")
    d.arrow("completed_trades", "fills", "reconciled with", "WE")
    return d


DIAGRAMS = {
    "parts": parts,
    "order-to-ledger": order_to_ledger,
    "flatten": flatten,
    "backup-and-restore": backup_and_restore,
    "connection": connection,
    "schema": schema,
}


def main() -> None:
    """Write every diagram."""
    schemdraw.use("svg")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in DIAGRAMS.items():
        (FOLDER / f"{name}.svg").write_bytes(draw().svg())


if __name__ == "__main__":
    main()
