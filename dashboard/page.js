// Live state of the stream, theme, title and keys. htmx swaps in the fragments from the server.
'use strict'
const link = document.getElementById('link')
document.addEventListener('htmx:sseOpen', () => { link.textContent = 'live'; link.className = 'dim on' })
document.addEventListener('htmx:sseError', () => { link.textContent = 'connection lost, trying again'; link.className = 'lost' })
document.querySelectorAll('header .here').forEach((here) => here.scrollIntoView({ block: 'nearest', inline: 'center' }))

const root = document.documentElement
const set = (name) => { if (name) root.dataset.theme = name; else delete root.dataset.theme }
set(localStorage.getItem('theme'))
function turn() {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : !matchMedia('(prefers-color-scheme: light)').matches
  const next = dark ? 'light' : 'dark'
  localStorage.setItem('theme', next)
  set(next)
  document.dispatchEvent(new Event('alpha:theme'))
}
document.getElementById('theme').addEventListener('click', turn)
matchMedia('(prefers-color-scheme: light)').addEventListener('change', () => document.dispatchEvent(new Event('alpha:theme')))

const titled = () => { const now = document.querySelector('[data-title]'); if (now) document.title = now.dataset.title }
titled()
new MutationObserver(titled).observe(document.querySelector('main'), { childList: true, subtree: true })

const help = document.getElementById('keys')
const go = (path) => { location.href = path }
const pages = { l: '/', c: '/chart', f: '/figures', t: '/trades', p: '/performance', o: '/orders', a: '/alerts', s: '/system', g: '/logs' }
let leading = false
document.addEventListener('keydown', (event) => {
  if (event.target.matches('input, select, textarea') || event.ctrlKey || event.metaKey || event.altKey) return
  const key = event.key
  if (leading && pages[key]) { go(pages[key]); return }
  leading = key === 'g'
  if (key === '?') { if (help.open) help.close(); else help.showModal() }
  if (key === 'd') turn()
  if (key === '/') { const box = document.getElementById('search'); if (box) { box.focus(); event.preventDefault() } }
  const turned = { n: 'next', p: 'prev' }[key]
  if (turned) document.querySelector(`a[rel=${turned}]`)?.click()
})

const tail = document.getElementById('tail')
if (tail) {
  setInterval(async () => {
    const answer = await fetch(tail.dataset.src, { credentials: 'same-origin' })
    if (answer.ok) {
      const atEnd = tail.scrollHeight - tail.scrollTop - tail.clientHeight < 40
      tail.textContent = await answer.text()
      if (atEnd) tail.scrollTop = tail.scrollHeight
    }
  }, 2000)
  tail.scrollTop = tail.scrollHeight
}
