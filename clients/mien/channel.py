"""The gRPC channel: where it leads, how it is secured, when a request is sent again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc

from mien import handshake
from mien.settings import address_family

if TYPE_CHECKING:
    from pathlib import Path

    from mien.settings import ClientSettings

Options = list[tuple[str, Any]]

INFER = {"service": "inference.GRPCInferenceService", "method": "ModelInfer"}


def target(settings: ClientSettings) -> str:
    """The channel's target: every address of it takes part in the round robin."""
    family = address_family(settings.endpoints[0])
    if family is not None:
        return f"{family}:{','.join(settings.endpoints)}"
    (endpoint,) = settings.endpoints
    return endpoint if endpoint.startswith("dns://") else f"dns:///{endpoint}"


def options(settings: ClientSettings) -> Options:
    """Channel options: balancing and retries, message sizes, keepalive, quick reconnection."""
    chosen: Options = [
        ("grpc.service_config", json.dumps(service_config(settings.retry_attempts, settings.attempt_timeout_s))),
        # Names in DNS must not overrule the service config above.
        ("grpc.service_config_disable_resolution", 1),
        # A name is looked up anew when a connection ends; gRPC's default, at most once in 30 s, would keep callers from
        # new replicas for as long.
        ("grpc.dns_min_time_between_resolutions_ms", 1000),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        # A request larger than this buffer is never sent again; gRPC's default, 256 KiB, is ten faces.
        ("grpc.per_rpc_retry_buffer_size", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", round(settings.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(settings.keepalive_timeout_s * 1000)),
        # Pings without calls would break Triton's default rule of at most one in five minutes: it hangs up.
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # Not what its name says: the time that a connection gets to be made, over a slow network, by a busy server.
        ("grpc.min_reconnect_backoff_ms", 2000),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if settings.attempt_timeout_s is not None:
        # gRPC takes a policy's perAttemptRecvTimeout only with this, although it has nothing to do with hedging.
        chosen.append(("grpc.experimental.enable_hedging", 1))
    if settings.tls_server_name is not None:
        chosen.append(("grpc.ssl_target_name_override", settings.tls_server_name))
    return chosen


def service_config(attempts: int, attempt_timeout_s: float | None = None) -> dict[str, Any]:
    """The service config: where calls go, and for inference alone retries with jitter inside the call's deadline.

    An inference changes nothing on the server, so it may be sent again. NOT_FOUND is among the reasons because a server
    that is shutting down gives it for a moment (the pauses, 0.1 to 4 s, outlast the unloading of both ensembles),
    CANCELLED because one that is killed may cancel what it was doing (gRPC never retries a caller's own cancelling).
    One that takes requests and answers none is left after `attempt_timeout_s`, for its connection stays, and is put
    aside soon. Under a flood of failures the throttle stops retries, so that they do not add to an overload.
    """
    config: dict[str, Any] = {"loadBalancingConfig": [_balancing(attempt_timeout_s if attempts > 1 else None)]}
    if attempts > 1:
        config["retryThrottling"] = {"maxTokens": 400, "tokenRatio": 1}
        config["methodConfig"] = [
            {
                "name": [INFER],
                "retryPolicy": {
                    "maxAttempts": attempts,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "4s",
                    "backoffMultiplier": 4,
                    "retryableStatusCodes": ["UNAVAILABLE", "NOT_FOUND", "CANCELLED"],
                    **({"perAttemptRecvTimeout": f"{attempt_timeout_s:.3f}s"} if attempt_timeout_s else {}),
                },
            }
        ]
    return config


def _balancing(attempt_timeout_s: float | None) -> dict[str, Any]:
    """Round robin; with a time for attempts, without the replicas that gave nothing but failures lately (gRFC A50).

    A replica that swallows everything is put aside after two intervals, before any call makes its fourth attempt, and
    tried again after one, later after more: each time calls may wait for some attempts. It is put aside for a single
    failure if nothing else came of it: whoever waits for it asks nobody else, so there is nothing to hold it against.
    Of two replicas never both are. One that is alone behind its name may be, for less than retries take.
    """
    round_robin: dict[str, Any] = {"round_robin": {}}
    if not attempt_timeout_s:
        return round_robin
    return {
        "outlier_detection_experimental": {
            "interval": f"{1.5 * attempt_timeout_s:.3f}s",
            "baseEjectionTime": f"{attempt_timeout_s:.3f}s",
            "maxEjectionPercent": 50,
            "failurePercentageEjection": {
                # More than 99 percent: one that answers now and then has too much to do, and less of it would help
                # nobody where the others have as much.
                "threshold": 99,
                "enforcementPercentage": 100,
                "minimumHosts": 1,
                "requestVolume": 1,
            },
            "childPolicy": [round_robin],
        }
    }


def credentials(settings: ClientSettings) -> grpc.ChannelCredentials | None:
    """TLS credentials; None for a plain connection.

    Raises:
        SettingsError: a PEM file cannot be read or does not hold what it should.
    """
    if not settings.uses_tls:
        return None
    handshake.context(settings)  # gRPC would say so with the first call, and not which file
    return grpc.ssl_channel_credentials(
        root_certificates=_content(settings.tls_root_ca),
        private_key=_content(settings.tls_client_key),
        certificate_chain=_content(settings.tls_client_cert),
    )


def _content(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()


def open_channel(settings: ClientSettings) -> grpc.Channel:
    """A channel for threads; it connects with the first call."""
    secret = credentials(settings)
    if secret is None:
        return grpc.insecure_channel(target(settings), options(settings))
    return grpc.secure_channel(target(settings), secret, options(settings))


def open_async_channel(settings: ClientSettings) -> grpc.aio.Channel:
    """A channel for the running event loop; it connects with the first call."""
    secret = credentials(settings)
    if secret is None:
        return grpc.aio.insecure_channel(target(settings), options(settings))
    return grpc.aio.secure_channel(target(settings), secret, options(settings))
