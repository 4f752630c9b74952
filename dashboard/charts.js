// Draws each element with data-chart from the JSON at data-src, with Lightweight Charts. No other source of data or code.
'use strict'
const drawn = []
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()
// The days in sight are locked: a chart whose screen becomes narrow would keep the newest alone.
const theme = () => ({
  layout: { background: { color: colour('room') }, textColor: colour('dim'), fontFamily: 'system-ui, sans-serif' },
  grid: { vertLines: { color: colour('line') }, horzLines: { color: colour('line') } },
  rightPriceScale: { borderColor: colour('line') }, leftPriceScale: { borderColor: colour('line') },
  timeScale: { borderColor: colour('line'), timeVisible: true, secondsVisible: false, tickMarkFormatter: tick, lockVisibleTimeRangeOnResize: true },
  localization: { timeFormatter: full },
})
// Times in the operator's zone, which the server names.
const zone = document.body.dataset.zone || 'UTC'
const said = (options) => { const shown = new Intl.DateTimeFormat('en-GB', { timeZone: zone, ...options }); return (time) => shown.format(time * 1000) }
const full = said({ year: 'numeric', month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit', timeZoneName: 'short' })
const ticks = [
  said({ year: 'numeric' }), said({ month: 'short' }), said({ day: 'numeric', month: 'short' }), said({ hour: '2-digit', minute: '2-digit' }),
  said({ hour: '2-digit', minute: '2-digit', second: '2-digit' }),
]
const tick = (time, kind) => ticks[kind](time)
const palette = ['#4f9dde', '#e0b04c', '#b37feb', '#4ec9b0', '#e58f65', '#9aa5b1', '#d16d9e', '#7fb069']

function make(box, options) {
  const chart = LightweightCharts.createChart(box, { ...theme(), autoSize: true, crosshair: { mode: 0 }, ...options })
  drawn.push(chart)
  return chart
}

function precision(price) {
  const digits = price >= 1000 ? 1 : price >= 10 ? 2 : price >= 0.1 ? 4 : 6
  return { type: 'price', precision: digits, minMove: 10 ** -digits }
}

// Exponential average; ends where there are too few values.
function average(rows, length) {
  const weight = 2 / (length + 1), points = []
  let mean = null
  rows.forEach((row, at) => {
    mean = mean === null ? row[4] : row[4] * weight + mean * (1 - weight)
    if (at >= length) points.push({ time: row[0], value: mean })
  })
  return points
}

function candles(box, data) {
  if (!data.candles.length) return say(box, 'No candles of this symbol are at hand for this range.')
  const chart = make(box)
  const last = data.candles[data.candles.length - 1][4]
  const series = chart.addCandlestickSeries({
    upColor: colour('good'), downColor: colour('bad'), borderVisible: false, wickUpColor: colour('good'),
    wickDownColor: colour('bad'), priceFormat: precision(last),
  })
  series.setData(data.candles.map(([time, open, high, low, close]) => ({ time, open, high, low, close })))
  const volume = chart.addHistogramSeries({ priceScaleId: 'volume', priceFormat: { type: 'volume' }, lastValueVisible: false, priceLineVisible: false })
  chart.priceScale('volume').applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } })
  volume.setData(data.volume.map(([time, value, up]) => ({ time, value, color: (up ? colour('good') : colour('bad')) + '55' })))
  const first = data.candles[0][0], step = data.candles.length > 1 ? data.candles[1][0] - first : 60
  const snap = (time) => Math.max(first, Math.floor(time / step) * step)
  const shown = data.marks.filter((mark) => mark.time >= first)
  series.setMarkers(shown.map((mark) => ({
    time: snap(mark.time), position: mark.buys ? 'belowBar' : 'aboveBar', shape: mark.buys ? 'arrowUp' : 'arrowDown',
    color: mark.buys ? colour('good') : colour('bad'),
  })))
  data.trades.filter((trade) => trade.from[0] >= first).slice(0, 150).forEach((trade) => {
    const from = snap(trade.from[0]), to = Math.max(snap(trade.to[0]), from + step)
    const line = chart.addLineSeries({
      color: trade.won ? colour('good') : colour('bad'), lineWidth: 2, lineStyle: 2, lastValueVisible: false,
      priceLineVisible: false, crosshairMarkerVisible: false, priceFormat: precision(last), autoscaleInfoProvider: () => null,
    })
    line.setData([{ time: from, value: trade.from[1] }, { time: to, value: trade.to[1] }])
  })
  const levelColours = { entry: colour('dim'), stop: colour('bad'), target: colour('good'), liq: colour('warn') }
  data.levels.forEach((level) => series.createPriceLine({
    price: level.price, color: levelColours[level.kind], lineStyle: level.kind === 'entry' ? 1 : 2, title: level.text, axisLabelVisible: true,
  }))
  data.stops.forEach((stop) => {
    const steps = new Map(stop.points.filter((point) => point[0] >= first).map(([time, value]) => [snap(time), value]))
    const line = chart.addLineSeries({
      color: levelColours[stop.kind], lineWidth: 1, lineType: LightweightCharts.LineType.WithSteps, lastValueVisible: false,
      priceLineVisible: false, crosshairMarkerVisible: false, priceFormat: precision(last), autoscaleInfoProvider: () => null,
    })
    line.setData([...steps].sort((a, b) => a[0] - b[0]).map(([time, value]) => ({ time, value })))
  })
  series.applyOptions({ autoscaleInfoProvider: (original) => withLevels(original(), [...data.levels, ...data.stops.flatMap((stop) => stop.points.map(([, price]) => ({ price })))]) })
  const own = data.indicators || [], named = (one) => one.bot + ' ' + one.name
  const averages = [20, 50, 200].map((length) => ({ title: 'EMA ' + length, points: () => average(data.candles, length) }))
  const onPrice = own.filter((one) => one.on_price).map((one) => ({ title: named(one), points: () => values(one) }))
  const pane = indicatorPane(box, chart, data.candles, own.filter((one) => !one.on_price).map((one) => ({ title: named(one), points: () => values(one) })))
  const lines = lineToggles(box, chart, [...onPrice, ...averages], onPrice.slice(0, 4), { priceFormat: precision(last) })
  const tip = note(box)
  chart.subscribeCrosshairMove((at) => {
    if (!at.time) { tip.textContent = ''; return }
    const bar = at.seriesData.get(series)
    const near = [
      ...shown.filter((mark) => snap(mark.time) === at.time).map((mark) => mark.text),
      ...data.trades.filter((trade) => snap(trade.from[0]) <= at.time && at.time <= snap(trade.to[0])).slice(0, 4).map((trade) => trade.text),
    ]
    const price = bar ? `${full(at.time)}  O ${bar.open}  H ${bar.high}  L ${bar.low}  C ${bar.close}` : ''
    tip.textContent = [price, ...legend(lines, at.time), ...legend(pane, at.time), ...near].join('\n')
  })
  chart.timeScale().fitContent()
}

// A scale on which stops and targets near the candles are in sight; one that is far away would press the candles flat.
function withLevels(seen, levels) {
  if (!seen || !seen.priceRange) return seen
  const { minValue, maxValue } = seen.priceRange, room = 2 * (maxValue - minValue)
  const near = levels.map((level) => level.price).filter((price) => price >= minValue - room && price <= maxValue + room)
  return { ...seen, priceRange: { minValue: Math.min(minValue, ...near), maxValue: Math.max(maxValue, ...near) } }
}

const values = (one) => one.points.map(([time, value]) => ({ time, value }))

// Lines that check boxes show and hide; returns those that are shown, by title, each with its values by time.
function lineToggles(box, chart, offered, first, options) {
  const lines = new Map()
  const change = (one, on) => {
    if (!on && lines.has(one.title)) { chart.removeSeries(lines.get(one.title).line); lines.delete(one.title) }
    if (on && !lines.has(one.title)) {
      const line = chart.addLineSeries({
        color: palette[offered.indexOf(one) % palette.length], lineWidth: 1, lastValueVisible: false, priceLineVisible: false,
        ...(typeof options === 'function' ? options(one) : options),
      })
      const points = one.points()
      line.setData(points)
      lines.set(one.title, { line, at: new Map(points.map((point) => [point.time, point.value])) })
    }
  }
  toggles(box, offered.map((one) => [one.title, one, palette[offered.indexOf(one) % palette.length]]), change, first)
  first.forEach((one) => change(one, true))
  return lines
}

const legend = (lines, time) => [...lines].filter(([, line]) => line.at.has(time)).map(([title, line]) => `${title} ${line.at.get(time)}`)

// Indicators that are no prices, below the candles and moving with them; each has its own scale.
function indicatorPane(box, chart, rows, offered) {
  if (!offered.length) return new Map()
  const below = document.createElement('div')
  below.className = 'chart pane'
  box.after(below)
  const same = { rightPriceScale: { minimumWidth: 72, borderColor: colour('line') } }
  const pane = make(below, same)
  chart.applyOptions(same)
  // Every candle's time, so that both charts count the same bars.
  pane.addLineSeries({ lastValueVisible: false, priceLineVisible: false }).setData(rows.map(([time]) => ({ time })))
  const lines = lineToggles(below, pane, offered, offered.slice(0, 1), (one) => ({ priceScaleId: one === offered[0] ? 'right' : one.title }))
  const follow = (from, to) => from.timeScale().subscribeVisibleLogicalRangeChange((range) => { if (range) to.timeScale().setVisibleLogicalRange(range) })
  follow(chart, pane)
  follow(pane, chart)
  const tip = note(below)
  pane.subscribeCrosshairMove((at) => { tip.textContent = at.time ? [full(at.time), ...legend(lines, at.time)].join('\n') : '' })
  return lines
}

function equity(box, data) {
  const names = Object.keys(data.curves).filter((name) => data.curves[name].length > 1)
  if (!names.length) return say(box, 'Not enough points for a curve yet.')
  const chart = make(box), lines = new Map()
  const add = (name) => {
    const line = chart.addLineSeries({
      color: name === 'all' ? colour('good') : palette[names.indexOf(name) % palette.length], lineWidth: 2, title: name, priceLineVisible: false,
    })
    line.setData(data.curves[name].map(([time, value]) => ({ time, value })))
    lines.set(name, line)
  }
  add(names[0])
  const fall = chart.addAreaSeries({
    priceScaleId: 'fall', lineColor: colour('bad'), topColor: colour('bad') + '10', bottomColor: colour('bad') + '55', lineWidth: 1,
    priceLineVisible: false, lastValueVisible: false, priceFormat: { type: 'percent' }, title: 'drawdown',
  })
  chart.priceScale('fall').applyOptions({ scaleMargins: { top: 0.75, bottom: 0 } })
  chart.priceScale('right').applyOptions({ scaleMargins: { top: 0.08, bottom: 0.3 } })
  fall.setData(data.drawdown.map(([time, value]) => ({ time, value })))
  toggles(box, names.map((name) => [name, name, '']), (name, on) => {
    if (on && !lines.has(name)) add(name)
    if (!on && lines.has(name)) { chart.removeSeries(lines.get(name)); lines.delete(name) }
  }, [names[0]])
  const tip = note(box)
  chart.subscribeCrosshairMove((at) => {
    if (!at.time) { tip.textContent = ''; return }
    const parts = [...lines].map(([name, line]) => [name, at.seriesData.get(line)]).filter(([, point]) => point)
    const fallen = at.seriesData.get(fall)
    tip.textContent = [
      full(at.time),
      ...parts.map(([name, point]) => `${name} ${point.value.toLocaleString('en', { maximumFractionDigits: 2 })}`),
      ...(fallen ? [`drawdown ${fallen.value.toFixed(2)} %`] : []),
    ].join('\n')
  })
  chart.timeScale().fitContent()
}

function say(box, text) {
  box.classList.add('empty')
  box.textContent = text
}

function note(box) {
  const tip = document.createElement('pre')
  tip.className = 'tip'
  tip.setAttribute('aria-hidden', 'true')
  box.append(tip)
  return tip
}

// Check boxes above a chart.
function toggles(box, choices, change, on) {
  const bar = document.createElement('div')
  bar.className = 'toggles'
  for (const [text, value, ink] of choices) {
    const label = document.createElement('label'), input = document.createElement('input')
    input.type = 'checkbox'
    input.checked = on.includes(value)
    if (ink) input.style.accentColor = ink
    input.addEventListener('change', () => change(value, input.checked))
    label.append(input, ' ' + text)
    bar.append(label)
  }
  box.before(bar)
}

const kinds = { candles, equity }
const kept = new WeakMap()
// A network that changes for a moment (a phone, a VPN) fails a request that the next one gets.
async function fetched(url, tries = 3) {
  try {
    return await fetch(url, { credentials: 'same-origin' })
  } catch (fault) {
    if (tries <= 1) throw fault
    await new Promise((ready) => setTimeout(ready, 1000))
    return fetched(url, tries - 1)
  }
}
// How often a box was begun to be drawn: a theme that changes while the data are on their way begins it anew.
const begun = new WeakMap()
async function draw(box) {
  const turn = (begun.get(box) || 0) + 1
  begun.set(box, turn)
  try {
    // kept, so that a change of the theme draws at once
    let data = kept.get(box)
    if (data === undefined && box.dataset.points) data = JSON.parse(box.dataset.points)
    else if (data === undefined) {
      const answer = await fetched(box.dataset.src)
      data = await answer.json()
      if (!answer.ok) throw new Error(data.error)
    }
    if (begun.get(box) !== turn) return
    kept.set(box, data)
    kinds[box.dataset.chart](box, data)
    box.dataset.drawn = 'yes'
  } catch (fault) {
    if (begun.get(box) === turn) say(box, 'The chart cannot be drawn: ' + fault.message)
  }
}
document.querySelectorAll('[data-chart]').forEach(draw)
// Colours are those of the theme at the time of drawing: drawn anew when it changes.
document.addEventListener('alpha:theme', () => {
  drawn.splice(0).forEach((chart) => chart.remove())
  document.querySelectorAll('.toggles, .tip, .pane').forEach((each) => each.remove())
  document.querySelectorAll('[data-chart]').forEach((box) => { box.replaceChildren(); box.classList.remove('empty'); draw(box) })
})
