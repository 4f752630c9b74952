"""The walk over all bars in machine code. Rules, order and rounding are those of `engine.Run`, on prices in whole units.

What it decides is whole numbers: bars, symbols, quantities in steps, prices in units. Money is floating point here, which
is enough to decide; `rebuild` computes every amount again in Decimal and checks each quantity and price.
"""
# One function on purpose: numba compiles it as a whole, and its state is a handful of local arrays.

from typing import Any

import numba
import numpy as np

#: Kinds of events.
OPENED, CLOSED, FUNDED, BREACHED, RESUMED = 0, 1, 2, 3, 4
#: Why a position closed.
LEFT, STOPPED, RAISED_STOP, TARGET, TRAILED, SETTLED, OPEN_END, MOVED_STOP = 0, 1, 2, 3, 4, 5, 6, 7
#: What was not let through.
(NO_SLOT, LIMIT, COOLDOWN, PER_DAY, NO_ROOM, TOO_SMALL, NO_BAR, TOO_LATE, NO_MARGIN) = range(9)
REFUSALS = 9
DONE, UNSURE, FULL = 0, 1, 2
_NEAR = 1e-9
_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS
_MONDAY_MS = 4 * _DAY_MS
_SCALE = 10**8


@numba.njit(cache=True, inline="always")
def _slipped(price: Any, tick: Any, slip: Any, buy: Any) -> Any:
    if slip == 0:
        return price
    moved = tick * _SCALE
    if buy:
        found = -(-price * (_SCALE + slip) // moved) * tick
    else:
        found = price * (_SCALE - slip) // moved * tick
    return max(found, tick)


@numba.njit(cache=True, inline="always")
def _level(entry: Any, part: Any, tick: Any, up: Any) -> Any:
    """entry x part / SCALE on a tick, rounded up or down. `part` is the whole factor, such as 0.97 x SCALE."""
    moved = tick * _SCALE
    if up:
        return -(-entry * part // moved) * tick
    return entry * part // moved * tick


@numba.njit(cache=True)
def walk(
    shape: Any,
    base: Any,
    count: Any,
    offset: Any,
    opens: Any,
    highs: Any,
    lows: Any,
    closes: Any,
    funding: Any,
    unit: Any,
    tick: Any,
    step: Any,
    least: Any,
    most: Any,
    least_value: Any,
    enters: Any,
    leaves: Any,
    score: Any,
    stop_part: Any,
    target_part: Any,
    trail_part: Any,
    active_part: Any,
    slips: Any,
    month_of_day: Any,
    limit_window: Any,
    limit_fraction: Any,
    limit_halves: Any,
    limit_resumed: Any,
    whole: Any,
    real: Any,
    events: Any,
    amounts: Any,
    equity: Any,
    refused: Any,
    limit_refused: Any,
) -> Any:
    """Walk bars `first` to `end`; returns (state, events written, positions open at the end, final wallet).

    `events` rows: kind, bar, point, symbol, why, quantity in steps, price in units (before slippage), further. For BREACHED:
    kind, bar, point, limit, reference's bar, reference's point, events before the reference, -1.
    """
    first, end, sign = shape[0], shape[1], shape[2]
    interval_ms, grid_ms = whole[0], whole[1]
    cooldown_ms, per_day, max_positions = whole[2], whole[3], whole[4]
    after_ms, limit_ms, raise_part = whole[5], whole[6], whole[7]
    low_first, held_order, has_score, resume_ms = whole[8] == 1, whole[9] == 1, whole[10] == 1, whole[11]
    of_equity = whole[12] == 1
    cash, fee, size, exposure, leverage, worst_rate = real[0], real[1], real[2], real[3], real[4], real[5]
    n_symbols, n_limits = len(base), len(limit_window)
    most_events = len(events)

    # Which symbols signal at each bar of the grid.
    starts = np.zeros(end + 2, dtype=np.int64)
    for s in range(n_symbols):
        last = min(count[s], end - offset[s])
        for i in range(last):
            if enters[base[s] + i]:
                starts[offset[s] + i + 1] += 1
    for n in range(end + 1):
        starts[n + 1] += starts[n]
    signal = np.empty(starts[end + 1], dtype=np.int64)
    place = starts.copy()
    for s in range(n_symbols):
        last = min(count[s], end - offset[s])
        for i in range(last):
            if enters[base[s] + i]:
                n = offset[s] + i
                signal[place[n]] = s
                place[n] += 1

    # What is held, oldest first.
    held = np.empty(n_symbols, dtype=np.int64)
    n_held = 0
    steps = np.zeros(n_symbols, dtype=np.int64)
    qty = np.zeros(n_symbols)
    entry = np.zeros(n_symbols, dtype=np.int64)
    entry_bar = np.zeros(n_symbols, dtype=np.int64)
    stop = np.zeros(n_symbols, dtype=np.int64)
    raised = np.zeros(n_symbols, dtype=np.bool_)
    target = np.zeros(n_symbols, dtype=np.int64)
    distance = np.zeros(n_symbols, dtype=np.int64)
    active = np.zeros(n_symbols, dtype=np.int64)
    extreme = np.zeros(n_symbols, dtype=np.int64)
    trailing = np.zeros(n_symbols, dtype=np.bool_)
    best = np.zeros(n_symbols, dtype=np.int64)
    price = np.zeros(n_symbols, dtype=np.int64)
    seen_bar = np.zeros(n_symbols, dtype=np.bool_)
    is_held = np.zeros(n_symbols, dtype=np.bool_)
    cooldown_from = np.full(n_symbols, -(2**60), dtype=np.int64)
    entries_today = np.zeros(n_symbols, dtype=np.int64)
    entries_day = np.int64(-1)
    leaving = np.zeros(n_symbols, dtype=np.bool_)
    was_held = np.zeros(n_symbols, dtype=np.bool_)
    order = np.empty(n_symbols, dtype=np.int64)

    # Limits: windows 0 day, 1 week, 2 month, 3 drawdown. Where each reference was seen: bar, point, events before.
    window_start = np.full(4, -1, dtype=np.int64)
    reference = np.zeros(4)
    reference_at = np.zeros((4, 3), dtype=np.int64)
    has_peak = False
    blocked = np.zeros(n_limits, dtype=np.int64)  # 0: not; else the turn in which it was met
    block_window = np.zeros(n_limits, dtype=np.int64)
    block_since = np.zeros(n_limits, dtype=np.int64)
    turn = 0
    n_blocked = 0

    wallet = cash
    used = 0
    written = first  # equity is known up to here
    n = first
    begun = False
    while n < end:
        if n_held == 0 and n_blocked == 0 and begun:
            # Nothing is held and nothing in force: the next bar after a signal. References are made on arrival.
            m = n
            while m < end and starts[m] == starts[m - 1]:
                m += 1
            while written < m:
                equity[written - first] = wallet
                written += 1
            n = m
            if n >= end:
                break
        begun = True
        start_ms = grid_ms + n * interval_ms
        day = start_ms // _DAY_MS
        close_ms = start_ms
        if used + 4 * n_symbols + 8 + n_limits >= most_events:
            return FULL, used, n_held, wallet

        # --- contracts that have ended, and holes
        k = 0
        while k < n_held:
            s = held[k]
            if n >= offset[s] + count[s] or opens[base[s] + n - offset[s]] == 0:
                p = price[s]
                value = qty[s] * p * unit[s]
                wallet += sign * (value - qty[s] * entry[s] * unit[s]) - value * fee
                events[used, 0], events[used, 1], events[used, 2], events[used, 3] = CLOSED, n, 0, s
                events[used, 4], events[used, 5], events[used, 6], events[used, 7] = SETTLED, steps[s], p, 0
                used += 1
                is_held[s] = False
                cooldown_from[s] = start_ms + interval_ms
                for j in range(k, n_held - 1):
                    held[j] = held[j + 1]
                n_held -= 1
            else:
                k += 1

        # --- the open: prices jump, then funding
        if n_held:
            worst, value = 0.0, 0.0
            for k in range(n_held):
                s = held[k]
                p = opens[base[s] + n - offset[s]]
                worst += sign * qty[s] * (p - entry[s]) * unit[s]
                value += qty[s] * p * unit[s]
            if wallet + worst <= value * worst_rate * 1.1:
                return UNSURE, used, n_held, wallet
        k = 0
        while k < n_held:
            s = held[k]
            p = opens[base[s] + n - offset[s]]
            price[s] = p
            towards = p * sign
            trail = (extreme[s] - distance[s] * sign) * sign
            why = -1
            if target[s] and towards >= target[s] * sign:
                why = TARGET
            elif trailing[s] and towards <= trail and trail > stop[s] * sign:
                why = TRAILED
            elif towards <= stop[s] * sign:
                why = RAISED_STOP if raised[s] else STOPPED
            if why >= 0:
                got = _slipped(p, tick[s], slips[s], sign < 0)
                value = qty[s] * got * unit[s]
                wallet += sign * (value - qty[s] * entry[s] * unit[s]) - value * fee
                events[used, 0], events[used, 1], events[used, 2], events[used, 3] = CLOSED, n, 0, s
                events[used, 4], events[used, 5], events[used, 6], events[used, 7] = why, steps[s], p, 0
                used += 1
                is_held[s] = False
                cooldown_from[s] = start_ms + interval_ms
                for j in range(k, n_held - 1):
                    held[j] = held[j + 1]
                n_held -= 1
            else:
                if distance[s]:
                    if not trailing[s]:
                        if towards >= active[s] * sign:
                            trailing[s], extreme[s] = True, p
                    elif towards > extreme[s] * sign:
                        extreme[s] = p
                k += 1
        for k in range(n_held):
            s = held[k]
            rate = funding[base[s] + n - offset[s]]
            if rate != 0.0:
                wallet -= sign * qty[s] * price[s] * unit[s] * rate
                events[used, 0], events[used, 1], events[used, 2], events[used, 3] = FUNDED, n, 0, s
                events[used, 4], events[used, 5], events[used, 6], events[used, 7] = 0, steps[s], price[s], 0
                used += 1

        # --- the operator resumes at the start of a day
        if resume_ms >= 0 and n_blocked and start_ms % _DAY_MS < interval_ms:
            since = np.int64(-1)
            for j in range(n_limits):
                if blocked[j] and limit_resumed[j]:
                    since = max(since, block_since[j])
            if since >= 0 and start_ms >= since + resume_ms:
                events[used, 0], events[used, 1], events[used, 2] = RESUMED, n, 0
                events[used, 3] = events[used, 4] = events[used, 5] = events[used, 6] = events[used, 7] = 0
                for t in range(1, turn + 1):
                    for j in range(n_limits):
                        if blocked[j] == t and limit_resumed[j]:
                            events[used, 4] = events[used, 4] * 16 + j + 1
                            blocked[j] = 0
                            n_blocked -= 1
                            if limit_window[j] == 3:
                                has_peak = False
                            else:
                                window_start[limit_window[j]] = -1
                used += 1

        # --- four points of the bar; the decision after the first
        for point in range(4):
            if point == 1:
                if n_held == 0:
                    pass
                else:
                    worst, value = 0.0, 0.0
                    for k in range(n_held):
                        s = held[k]
                        i = base[s] + n - offset[s]
                        against = lows[i] if sign > 0 else highs[i]
                        worst += sign * qty[s] * (against - entry[s]) * unit[s]
                        value += qty[s] * highs[i] * unit[s]
                    if wallet + worst <= value * worst_rate * 1.1:
                        return UNSURE, used, n_held, wallet
            if point > 0:
                if n_held == 0 and point > 1:
                    continue
                k = 0
                while k < n_held:
                    s = held[k]
                    i = base[s] + n - offset[s]
                    if point == 3:
                        p = closes[i]
                    elif (point == 1) == low_first:
                        p = lows[i]
                    else:
                        p = highs[i]
                    towards = p * sign
                    trail = (extreme[s] - distance[s] * sign) * sign
                    why = -1
                    level = np.int64(0)
                    if target[s] and towards >= target[s] * sign:
                        why, level = TARGET, target[s]
                    elif trailing[s] and towards <= trail and trail > stop[s] * sign:
                        why, level = TRAILED, trail * sign
                    elif towards <= stop[s] * sign:
                        why, level = (RAISED_STOP if raised[s] else STOPPED), stop[s]
                    price[s] = p
                    if why >= 0:
                        got = _slipped(level, tick[s], slips[s], sign < 0)
                        value = qty[s] * got * unit[s]
                        wallet += sign * (value - qty[s] * entry[s] * unit[s]) - value * fee
                        events[used, 0], events[used, 1], events[used, 2], events[used, 3] = CLOSED, n, point, s
                        events[used, 4], events[used, 5], events[used, 6], events[used, 7] = why, steps[s], level, 0
                        used += 1
                        is_held[s] = False
                        cooldown_from[s] = start_ms + interval_ms
                        for j in range(k, n_held - 1):
                            held[j] = held[j + 1]
                        n_held -= 1
                    else:
                        if distance[s]:
                            if not trailing[s]:
                                if towards >= active[s] * sign:
                                    trailing[s], extreme[s] = True, p
                            elif towards > extreme[s] * sign:
                                extreme[s] = p
                        k += 1

            # --- account limits see equity
            now = wallet
            for k in range(n_held):
                s = held[k]
                now += sign * qty[s] * (price[s] - entry[s]) * unit[s]
            if point == 0:
                week = (start_ms - _MONDAY_MS) // _WEEK_MS
                for w in range(3):
                    began = day if w == 0 else (week if w == 1 else month_of_day[day - grid_ms // _DAY_MS])
                    if window_start[w] != began:
                        window_start[w], reference[w] = began, now
                        reference_at[w, 0], reference_at[w, 1], reference_at[w, 2] = n, point, used
            if not has_peak or now > reference[3]:
                has_peak = True
                reference[3] = now
                reference_at[3, 0], reference_at[3, 1], reference_at[3, 2] = n, point, used
            for j in range(n_limits):
                w = limit_window[j]
                if blocked[j]:
                    if not limit_resumed[j] and w < 3 and block_window[j] != window_start[w]:
                        blocked[j] = 0
                        n_blocked -= 1
                    else:
                        continue
                floor = reference[w] * (1.0 - limit_fraction[j])
                if abs(now - floor) <= _NEAR * (abs(now) + 1.0):
                    return UNSURE, used, n_held, wallet
                if reference[w] > 0 and now <= floor:
                    turn += 1
                    blocked[j] = turn
                    block_window[j] = window_start[w] if w < 3 else 0
                    offset_ms = interval_ms // 3 * 0
                    if point == 1:
                        offset_ms = interval_ms // 3
                    elif point == 2:
                        offset_ms = interval_ms * 2 // 3
                    elif point == 3:
                        offset_ms = interval_ms - 1
                    block_since[j] = start_ms + offset_ms
                    n_blocked += 1
                    events[used, 0], events[used, 1], events[used, 2], events[used, 3] = BREACHED, n, point, j
                    events[used, 4], events[used, 5] = reference_at[w, 0], reference_at[w, 1]
                    events[used, 6], events[used, 7] = reference_at[w, 2], -1
                    used += 1
                    if used + 2 * n_symbols + 8 + n_limits >= most_events:
                        return FULL, used, n_held, wallet

            # --- the bar that has just closed is evaluated
            if point == 0 and n > first and (n_held or starts[n] > starts[n - 1]):
                n_leaving = 0
                for k in range(n_held):
                    s = held[k]
                    was_held[s] = True
                    i = base[s] + n - 1 - offset[s]
                    if sign > 0:
                        if not seen_bar[s] or highs[i] > best[s]:
                            best[s] = highs[i]
                    elif not seen_bar[s] or lows[i] < best[s]:
                        best[s] = lows[i]
                    seen_bar[s] = True
                    held_ms = (n - entry_bar[s]) * interval_ms
                    leaving[s] = (limit_ms >= 0 and held_ms >= limit_ms) or (leaves[i] and held_ms >= after_ms)
                    n_leaving += leaving[s]
                if n_leaving:
                    n_order = n_held
                    if held_order:
                        for k in range(n_held):
                            order[k] = held[k]
                    else:
                        n_order = 0
                        for s in range(n_symbols):
                            if is_held[s]:
                                order[n_order] = s
                                n_order += 1
                    for q in range(n_order):
                        s = order[q]
                        if not leaving[s]:
                            continue
                        got = _slipped(price[s], tick[s], slips[s], sign < 0)
                        value = qty[s] * got * unit[s]
                        wallet += sign * (value - qty[s] * entry[s] * unit[s]) - value * fee
                        events[used, 0], events[used, 1], events[used, 2], events[used, 3] = CLOSED, n, 0, s
                        events[used, 4], events[used, 5], events[used, 6] = LEFT, steps[s], price[s]
                        events[used, 7] = (n - entry_bar[s]) * interval_ms
                        used += 1
                        is_held[s] = False
                        cooldown_from[s] = close_ms
                        for k in range(n_held):
                            if held[k] == s:
                                for j in range(k, n_held - 1):
                                    held[j] = held[j + 1]
                                break
                        n_held -= 1
                if raise_part > 0:
                    k = 0
                    while k < n_held:
                        s = held[k]
                        moved = _level(best[s], raise_part, tick[s], sign < 0)
                        if (moved - stop[s]) * sign > 0:
                            raised[s] = True
                            stop[s] = moved
                            if price[s] * sign <= moved * sign:
                                got = _slipped(price[s], tick[s], slips[s], sign < 0)
                                value = qty[s] * got * unit[s]
                                wallet += sign * (value - qty[s] * entry[s] * unit[s]) - value * fee
                                events[used, 0], events[used, 1], events[used, 2], events[used, 3] = CLOSED, n, 0, s
                                events[used, 4], events[used, 5], events[used, 6] = MOVED_STOP, steps[s], price[s]
                                events[used, 7] = 0
                                used += 1
                                is_held[s] = False
                                cooldown_from[s] = close_ms
                                for j in range(k, n_held - 1):
                                    held[j] = held[j + 1]
                                n_held -= 1
                                continue
                        k += 1
                # --- entries: admitted first, then sized from one equity, then carried out in turn
                n_new = starts[n] - starts[n - 1]
                if n_new:
                    m = 0
                    for q in range(starts[n - 1], starts[n]):
                        s = signal[q]
                        if was_held[s]:
                            continue
                        order[m] = s
                        m += 1
                    if has_score:
                        for a in range(1, m):  # stable insertion sort, best first
                            s = order[a]
                            mine = score[base[s] + n - 1 - offset[s]]
                            b = a - 1
                            while b >= 0 and score[base[order[b]] + n - 1 - offset[order[b]]] < mine:
                                order[b + 1] = order[b]
                                b -= 1
                            order[b + 1] = s
                    limit_name = -1
                    scale = 1.0
                    low_turn = turn + 1
                    for j in range(n_limits):
                        if blocked[j]:
                            if limit_halves[j]:
                                scale = 0.5
                            elif blocked[j] < low_turn:
                                low_turn, limit_name = blocked[j], j
                    # Positions that leave at this bar have given up their slot when entries are admitted; one whose
                    # moved stop was passed has not.
                    busy = 0
                    for s in range(n_symbols):
                        if was_held[s] and not leaving[s]:
                            busy += 1
                    admitted = 0
                    for q in range(m):
                        s = order[q]
                        if limit_name >= 0:
                            refused[LIMIT] += 1
                            limit_refused[limit_name] += 1
                        elif close_ms - cooldown_from[s] < cooldown_ms:
                            refused[COOLDOWN] += 1
                        elif per_day >= 0 and (entries_today[s] if entries_day == day else 0) >= per_day:
                            refused[PER_DAY] += 1
                        elif max_positions >= 0 and busy >= max_positions:
                            refused[NO_SLOT] += 1
                        else:
                            busy += 1
                            order[admitted] = s
                            admitted += 1
                    if admitted:
                        now = wallet
                        for k in range(n_held):
                            s = held[k]
                            now += sign * qty[s] * (price[s] - entry[s]) * unit[s]
                        room = np.inf
                        if exposure >= 0:
                            room = exposure * now
                            for k in range(n_held):
                                s = held[k]
                                room -= qty[s] * closes[base[s] + n - 1 - offset[s]] * unit[s]
                        m = 0
                        for q in range(admitted):
                            s = order[q]
                            close = closes[base[s] + n - 1 - offset[s]] * unit[s]
                            notional = (size * now if of_equity else size) * scale
                            notional = min(notional, room)
                            if notional <= 0:
                                refused[NO_ROOM] += 1
                                continue
                            wanted = notional / close / step[s]
                            near = np.rint(wanted)
                            n_steps = near if abs(wanted - near) <= 1e-11 * wanted + 1e-12 else np.floor(wanted)
                            n_steps = min(n_steps, np.rint(most[s] / step[s]))
                            amount = n_steps * step[s]
                            if (
                                n_steps < 1
                                or amount < least[s] * (1 - 1e-12)
                                or amount * close < least_value[s] * (1 - 1e-12)
                            ):
                                refused[TOO_SMALL] += 1
                                continue
                            room -= amount * close
                            order[m] = s
                            steps[s] = np.int64(n_steps)
                            m += 1
                        for q in range(m):
                            s = order[q]
                            i = n - offset[s]
                            if i < 0 or i >= count[s] or opens[base[s] + i] == 0:
                                refused[NO_BAR] += 1
                                continue
                            p = opens[base[s] + i]
                            carried = _level(closes[base[s] + i - 1], stop_part[s], tick[s], sign < 0)
                            if p * sign <= carried * sign:
                                refused[TOO_LATE] += 1
                                continue
                            got = _slipped(p, tick[s], slips[s], sign > 0)
                            amount = steps[s] * step[s]
                            value = amount * got * unit[s]
                            available = wallet
                            for k in range(n_held):
                                h = held[k]
                                available += sign * qty[h] * (price[h] - entry[h]) * unit[h]
                                available -= qty[h] * price[h] * unit[h] * (1.0 / leverage + fee)
                            needs = value * (1.0 / leverage + 2 * fee)
                            if abs(needs - max(available, 0.0)) <= _NEAR * (needs + 1.0):
                                return UNSURE, used, n_held, wallet
                            if needs > max(available, 0.0):
                                refused[NO_MARGIN] += 1
                                continue
                            wallet -= value * fee
                            qty[s], entry[s], entry_bar[s], price[s] = amount, got, n, p
                            stop[s] = _level(got, stop_part[s], tick[s], sign < 0)
                            raised[s] = False
                            target[s] = 0 if target_part[s] == 0 else _level(got, target_part[s], tick[s], sign > 0)
                            trailing[s], extreme[s], distance[s], active[s] = False, 0, 0, 0
                            if trail_part[s] > 0:
                                distance[s] = max(tick[s], _level(got, trail_part[s], tick[s], True))
                                active[s] = _level(got, active_part[s], tick[s], sign > 0)
                                if p * sign >= active[s] * sign:
                                    trailing[s], extreme[s] = True, p
                            seen_bar[s] = False
                            is_held[s] = True
                            held[n_held] = s
                            n_held += 1
                            if entries_day != day:
                                entries_day = day
                                entries_today[:] = 0
                            entries_today[s] += 1
                            events[used, 0], events[used, 1], events[used, 2], events[used, 3] = OPENED, n, 0, s
                            events[used, 4], events[used, 5], events[used, 6], events[used, 7] = 0, steps[s], p, got
                            used += 1
                for s in range(n_symbols):
                    was_held[s] = False
                    leaving[s] = False
        now = wallet
        for k in range(n_held):
            s = held[k]
            now += sign * qty[s] * (price[s] - entry[s]) * unit[s]
        equity[n - first] = now
        written = n + 1
        n += 1
    for k in range(n_held):
        s = held[k]
        events[used, 0], events[used, 1], events[used, 2], events[used, 3] = CLOSED, end, 0, s
        events[used, 4], events[used, 5], events[used, 6], events[used, 7] = OPEN_END, steps[s], price[s], 0
        used += 1
    amounts[0] = wallet
    return DONE, used, n_held, wallet
