"""Local stand-in of the shop's report API: the four calls of the service, without the service.

The real service cannot be reached from a test machine, and each of its reports holds new random
orders. This one answers the same calls in the same form, repeatably, from generated orders or
from recorded deliveries. It keeps no state: everything an answer needs stands in the ids.

Run it:       python -m shop_api --today 2024-03-03 --port 8000
In a test:    with serve(Shop(source=GeneratedSource(), today=date(2024, 3, 3))) as base_url: ...

Modules: `window` (which days exist), `ids`, `generated` and `recorded` (where the files come
from), `shop` (what is answered), `server` (HTTP), `__main__` (command line).
"""
