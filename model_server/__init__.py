"""The model server: scores of artefacts over the Open Inference Protocol v2, REST, inside the trading network only.

It holds no key and knows neither PostgreSQL, Redis nor the exchange. It serves every artefact of its folder whose hashes are
right and which answers its reference rows as in training; which of them trades is decided elsewhere (`trading.models`).

| module | holds |
|---|---|
| store.py | the folder of artefacts, checked again and again |
| protocol.py | requests and responses of the protocol, tensors as JSON or binary |
| app.py | the HTTP server |
| settings.py | what can be set |
"""
