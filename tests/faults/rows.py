"""The faults that Mien is held against: a row each of the table in docs/reliability.md, proven by tests marked so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        fault: what is done.
        promise: what must hold meanwhile and afterwards.
    """

    fault: str
    promise: str


ROWS = {
    1: Row("releases and rollbacks under 8 callers", "0 lost, 0 mixed, versions monotonic for each caller"),
    2: Row("corrupt, truncated, wrong-shape, wrong-hash releases under load", "refused, 0 lost, readiness true"),
    3: Row(
        "kill -9 of stub, server, gateway, Prefect worker, training, publisher",
        "healed or resumed; no half release, no second publication, no orphan, no stale shared memory",
    ),
    4: Row(
        "disk full while publishing, training, storing feedback",
        "old state intact, staging cleaned, the message names the disk",
    ),
    5: Row("SIGTERM under load", "every accepted request answered"),
    6: Row("two replicas, one killed, drained, slowed, black-holed", "0 errors through the SDK; latency bounded"),
    7: Row(
        "slow, hanging, cancelling, timing-out clients; 200 at once",
        "others' p99 within 1.5 times of without; each answered or refused in time; queues empty in 5 s; no leak",
    ),
    8: Row("3 times the capacity, open loop", "sheds; goodput at least 80 % of the peak; recovers in 5 s"),
    9: Row("100,000 requests; a video of 10,000 frames", "server and gateway grow less than 20 MB after warm-up"),
    10: Row("mutated ModelInfer messages and REST requests", "alive, only client errors"),
    11: Row(
        "damaged pictures, videos and recordings, bombs",
        "valid or 4xx, in bounded time and memory; never another user's pixels",
    ),
    12: Row(
        "crafted shapes, empty batch, 400 MB message; NaN and infinity to a member",
        "refused with a clear code, memory bounded, server serving; no other row changes",
    ),
    13: Row(
        "model control, shared memory, trace, log calls without the admin key or with a wrong one",
        "refused; inference open",
    ),
    14: Row("no certificate, wrong CA, expired, wrong name; plaintext to TLS", "refused, with a useful message"),
    15: Row(
        "malicious SavedModel, Keras file with a Lambda, pickle, zip-slip",
        "never loaded: manifest and safe mode are the barrier",
    ),
    16: Row(
        "clock jumps, locale and time zone changes, read-only home, no network",
        "works, or says which setting",
    ),
    17: Row(
        "PostgreSQL or Redis down and back",
        "degrades as documented, recovers alone, loses nothing acknowledged",
    ),
    18: Row("soak: mixed traffic with a release every 30 s", "0 errors, memory flat"),
}
