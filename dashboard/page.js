// htmx swaps in the fragments from the server; this shows whether the stream is connected.
const link = document.getElementById('link')
document.addEventListener('htmx:sseOpen', () => { link.textContent = 'live'; link.className = 'dim on' })
document.addEventListener('htmx:sseError', () => { link.textContent = 'connection lost, trying again'; link.className = 'lost' })
document.querySelectorAll('nav .here').forEach((here) => here.scrollIntoView({ block: 'nearest', inline: 'center' }))
