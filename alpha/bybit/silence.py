"""When a connected stream without data is replaced: ever more rarely, because a market that stands still is silent on the next one, too."""

#: The longest time between two replacements.
MOST_S = 600.0
#: What comes so soon after a subscription is its first snapshot, which is sent even where nothing follows.
SETTLED_S = 10.0


class Silence:
    """Times are those of one monotonic clock, in seconds."""

    def __init__(self, first_s: float, now_s: float) -> None:
        """Replace after `first_s` without data, then after twice as long each time, up to MOST_S."""
        #: The stream was replaced, and no data has come since but first snapshots.
        self.lasting = False
        self.connected_s = now_s
        self._first_s = self._limit_s = first_s

    def connected(self, now_s: float) -> None:
        """A connection is there."""
        self.connected_s = now_s

    def too_long(self, now_s: float, data_s: float) -> bool:
        """Whether the connection is to be replaced now; asked again and again while it is there. The newest data came at `data_s`."""
        if data_s - self.connected_s > SETTLED_S:
            self.lasting, self._limit_s = False, self._first_s
        if now_s - max(data_s, self.connected_s) <= self._limit_s:
            return False
        self.lasting, self._limit_s = True, min(2 * self._limit_s, MOST_S)
        self.connected_s = now_s
        return True
