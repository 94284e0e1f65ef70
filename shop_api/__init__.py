"""Local stand-in of the shop's report API: the four calls of the service, without the service.

Test machines cannot reach the real service, and each of its reports holds new random orders. The
stand-in answers the same calls in the same form, repeatably, from generated orders or from recorded
deliveries. It keeps no state: the ids hold everything that an answer needs.

Run it:       python -m shop_api --today 2024-03-03 --port 8000
In a test:    with serve(Shop(source=GeneratedSource(), today=date(2024, 3, 3))) as base_url: ...

Modules: `window` (which days exist), `ids`, `generated` and `recorded` (the sources of the files),
`shop` (the answers), `server` (HTTP), `__main__` (command line).
"""
