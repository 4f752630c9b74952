"""The report of a sweep: one HTML page that needs nothing else, and its figures as JSON."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from alpha.errors import Misconfigured
from backtester.candles import moment
from backtester.charts import line_chart
from backtester.record import plainly
from research.evaluate import Trial
from research.folds import DAY_MS
from research.verdict import Verdict
from research.worker import Sweep

_BANDS = 6
_MAPS = 6
TPE_NOTE = "A TPE study depends on the order in which trials end: another number of workers gives other trials."
SAME_NOTE = "Any number of workers gives these trials."


def figure_rows(verdict: Verdict) -> list[tuple[str, str]]:
    """Name and value of each figure, the out-of-sample ones first."""
    low, high = verdict.interval
    overfit = verdict.overfit
    return [
        ("Return out of sample", f"{verdict.out_of_sample_return * 100:+.1f} %"),
        (
            "Sharpe ratio out of sample, 90 % of bootstraps",
            f"{verdict.out_of_sample_sharpe:.2f} ({low:.2f} to {high:.2f})",
        ),
        ("Sharpe ratio of the best trial in sample", f"{verdict.in_sample_sharpe:.2f}"),
        ("Deflated Sharpe ratio (probability of skill)", f"{verdict.deflated:.3f}"),
        ("Independent trials among those made", f"{verdict.independent:.1f}"),
        ("Probability of overfitting (CSCV)", "-" if overfit is None else f"{overfit.probability:.2f}"),
        ("Best in sample loses out of sample", "-" if overfit is None else f"{overfit.loss * 100:.0f} % of splits"),
        ("Slope of out of sample on in sample", "-" if overfit is None else f"{overfit.slope:.2f}"),
    ]


def record_of(name: str, config: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The figures for programs."""
    overfit = verdict.overfit
    return {
        "sweep": name,
        "strategy": config["strategy"],
        "fingerprints": {"data": config["market"], "code": config["code"]},
        "sampler": config["sampler"],
        "seed": config["seed"],
        "reproducible": config["sampler"] != "tpe",
        "trials": verdict.trials,
        "failed": verdict.failed,
        "verdict": verdict.words,
        "significant": verdict.significant,
        "out_of_sample_return": verdict.out_of_sample_return,
        "out_of_sample_sharpe": verdict.out_of_sample_sharpe,
        "out_of_sample_interval": plainly(list(verdict.interval)),
        "in_sample_sharpe": verdict.in_sample_sharpe,
        "deflated_sharpe": verdict.deflated,
        "independent_trials": verdict.independent,
        "probability_of_overfitting": None if overfit is None else overfit.probability,
        "stability": dict(verdict.stability),
        "best": {
            "number": verdict.best.number,
            "value": verdict.best.value,
            "parameters": dict(verdict.best.parameters),
        },
        "folds": plainly([_plain_fold(fold) for fold in verdict.folds]),
    }


def write(sweep: Sweep, trials: list[Trial], verdict: Verdict, folder: Path) -> None:
    """`sweep.html` and `sweep.json`. Misconfigured when the folder cannot be written."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = lambda ms: moment(ms)[:10]
    path = np.asarray(np.cumprod(1 + verdict.joined) * 100.0, dtype=np.float64)
    times = (verdict.joined_days + 1) * DAY_MS
    chart = (
        line_chart("Out of sample, 100 at the start", times, path, base=100.0, kind="equity") if len(path) > 1 else ""
    )
    good = [trial for trial in trials if not trial.why]
    page = environment.get_template(
        "page.html"
    ).render(
        name=sweep.name,
        strategy=sweep.config["strategy"],
        data=sweep.config["data"],
        sampler=sweep.config["sampler"],
        note=TPE_NOTE if sweep.config["sampler"] == "tpe" else SAME_NOTE,
        verdict=verdict,
        rows=figure_rows(verdict),
        chart=Markup(chart),  # noqa: S704
        maps=heat_maps(good),
        best=sorted(good, key=lambda trial: trial.value, reverse=True)[:10],
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sweep.html").write_text(page, encoding="utf-8")
        text = json.dumps(record_of(sweep.name, sweep.config, verdict), indent=1, allow_nan=False)
        (folder / "sweep.json").write_text(text + "\n", encoding="utf-8")
    except OSError as fault:
        raise Misconfigured(f"The report cannot be written to {folder}: {fault.strerror or fault}.") from None


def heat_maps(trials: list[Trial]) -> list[dict[str, Any]]:
    """Mean value of the trials over each pair of parameters, in bands of equal width."""
    if not trials:
        return []
    names = list(trials[0].parameters)
    values = [trial.value for trial in trials]
    least, most = min(values), max(values)
    maps = []
    for one, other in itertools.islice(itertools.combinations(names, 2), _MAPS):
        across, columns = _bands([trial.parameters[one] for trial in trials])
        down, lines = _bands([trial.parameters[other] for trial in trials])
        rows = []
        for line, name in enumerate(down):
            cells = []
            for column in range(len(across)):
                inside = [v for v, c, r in zip(values, columns, lines, strict=True) if c == column and r == line]
                mean = float(np.mean(inside)) if inside else None
                share = 0.0 if mean is None or most == least else (mean - least) / (most - least)
                colour = "transparent" if mean is None else f"rgba(47,99,201,{0.08 + 0.8 * share:.2f})"
                cells.append({"text": "" if mean is None else f"{mean:.2f}", "colour": colour})
            rows.append({"name": name, "cells": cells})
        maps.append({"title": f"{other} (down) over {one} (across): mean value", "across": across, "rows": rows})
    return maps


def _bands(texts: list[str]) -> tuple[list[str], list[int]]:
    """Names of the bands of a parameter's values, and the band of each value."""
    distinct = sorted(set(texts))
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return distinct, [distinct.index(text) for text in texts]
    if len(distinct) <= _BANDS:
        ordered = sorted(set(numbers))
        return [f"{number:g}" for number in ordered], [ordered.index(number) for number in numbers]
    low, high = min(numbers), max(numbers)
    width = (high - low) / _BANDS
    places = [min(int((number - low) / width), _BANDS - 1) for number in numbers]
    return [f"{low + place * width:.3g} to {low + (place + 1) * width:.3g}" for place in range(_BANDS)], places


def _plain_fold(fold: Any) -> dict[str, Any]:
    return {
        "test_from": moment(fold.fold.test_from_ms)[:10],
        "test_to": moment(fold.fold.test_to_ms)[:10],
        "trial": fold.number,
        "parameters": dict(fold.parameters),
        "train_value": fold.train_value,
        "test_value": fold.test_value,
        "test_return": fold.test_return,
        "trades": fold.trades,
    }
