"""API: DOS over HTTP. `dos.api.app:app` is what uvicorn serves.

A request passes `context` (request id, last resort for errors), `limits` (size of the body) and
one file of `routes`, which asks the `Backend` and answers with a model of `schemas`. The API
holds no state of its own and decides nothing: the application, which lies above it, hands in a
`Backend`. Every error leaves as an RFC 9457 problem document (`errors`).
"""
