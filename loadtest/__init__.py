"""Load tests: what a deployment carries, at which latency.

Modules that Locust's process imports (`users`, `locustfile`, `callers`) stay apart from those of the command line:
Locust replaces the standard library's sockets and threads by gevent's wherever it is imported.
"""
