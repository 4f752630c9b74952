"""What a number of accounts behind one outgoing address costs in requests, and how often they can therefore be audited."""

from dataclasses import dataclass

from alpha.bybit.rate_limiter import IP_PER_SECOND

#: Reads of one audit: executions, positions, open orders, wallet.
READS_PER_AUDIT = 4
#: The part of the address's budget that audits may use; the rest is for orders, candles and back-fills.
AUDIT_SHARE = 0.5
#: What bots read over REST of their own accord, all of them together, may use so much of the budget: looks at the account while its
#: live state cannot be trusted, the lists of orders, and the exchange's time when no candle comes.
LOOK_SHARE, ORDERS_SHARE, TIME_SHARE = 0.2, 0.1, 0.05
READS_PER_LOOK, READS_OF_ORDERS = 2, 2
#: However few they are, seconds from one such read to the next.
LEAST_ORDERS_S, LEAST_TIME_S = 10.0, 5.0
#: Reads of the guard's stop check per account, and of the trade sync per account, each over its own interval.
GUARD_READS, SYNC_READS = 3, 1
#: So many accounts make one main account with its sub-accounts.
SUB_ACCOUNTS = 20
#: Live state counts as compared with the exchange for so long after an audit, in seconds; longer where the beat is longer.
LEAST_VALID_S, VALID_AFTER_BEAT_S = 30.0, 15.0
#: With more accounts behind one address an audit comes later than every 20 s: the doctor speaks up.
COMFORTABLE_ACCOUNTS = 150


def audit_beat_s(accounts: int, wanted_s: float, per_second: int = IP_PER_SECOND) -> float:
    """Seconds between two audits of one account: the wanted ones, or what half the address's budget allows."""
    return max(wanted_s, accounts * READS_PER_AUDIT / (per_second * AUDIT_SHARE))


@dataclass(frozen=True, slots=True)
class BotBeats:
    """Seconds between two reads over REST of one bot, by what it reads.

    With a fixed beat the reads of many bots leave the listener no room for its audits, so that none is ever synced.
    """

    look_s: float
    orders_s: float
    time_s: float


def bot_beats(accounts: int, per_second: int = IP_PER_SECOND) -> BotBeats:
    """The beats of a bot where so many accounts are behind one address."""
    share = accounts / per_second
    return BotBeats(
        share * READS_PER_LOOK / LOOK_SHARE,
        max(LEAST_ORDERS_S, share * READS_OF_ORDERS / ORDERS_SHARE),
        max(LEAST_TIME_S, share / TIME_SHARE),
    )


def valid_s(beat_s: float) -> float:
    """How long live state counts as `synced` after an audit, in seconds."""
    return max(LEAST_VALID_S, beat_s + VALID_AFTER_BEAT_S)


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """The steady load of the accounts behind one address, in requests per second."""

    accounts: int
    beat_s: float
    listener: float
    guard: float
    sync: float
    bots: float
    budget: int

    @property
    def total(self) -> float:
        """All of them together."""
        return self.listener + self.guard + self.sync + self.bots

    @property
    def main_accounts(self) -> int:
        """How many main accounts of Bybit so many sub-accounts need."""
        return -(-self.accounts // SUB_ACCOUNTS)


def plan_of(accounts: int, *, audit_s: float, patrol_s: float = 60.0, sync_s: float = 300.0) -> RequestPlan:
    """The load of so many accounts, with the settings of listener, guard and trade sync, each with a bot and live state synced."""
    beat_s, beats = audit_beat_s(accounts, audit_s), bot_beats(accounts)
    return RequestPlan(
        accounts,
        beat_s,
        accounts * READS_PER_AUDIT / beat_s,
        accounts * GUARD_READS / patrol_s,
        accounts * SYNC_READS / sync_s,
        accounts * (READS_OF_ORDERS / beats.orders_s + 1 / beats.time_s),
        IP_PER_SECOND,
    )
