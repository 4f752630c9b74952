// htmx puts the fragments of the server into their places; this says whether they still come.
const link = document.getElementById('link')
document.addEventListener('htmx:sseOpen', () => { link.textContent = 'live'; link.className = 'dim on' })
document.addEventListener('htmx:sseError', () => { link.textContent = 'connection lost, trying again'; link.className = 'lost' })
document.querySelectorAll('nav .here').forEach((here) => here.scrollIntoView({ block: 'nearest', inline: 'center' }))
