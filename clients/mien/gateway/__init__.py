"""The REST gateway: pictures and videos over HTTP, answered by way of the SDK. Needs the extra `gateway`.

`mien.gateway.app.create_app` makes the application, `python -m mien.gateway` serves it. Nothing is imported here:
worker processes import this package too.
"""
