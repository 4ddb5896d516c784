"""``python -m flows.exporter``: serves what Prefect knows of the flows as metrics for Prometheus."""

from __future__ import annotations

import logging
import os
import sys
import threading

from prometheus_client import CollectorRegistry, start_http_server

from flows.orchestration import prefect_environment
from flows.orchestration.run_metrics import FlowMetrics
from flows.settings import read_flow_settings
from mien.errors import MienError
from serving import read_settings


def main() -> int:
    """Serve until the process is ended; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_flow_settings()
        prefect_environment.prepare(read_settings(), settings)
    except MienError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    registry = CollectorRegistry()
    api = os.environ.get("PREFECT_API_URL", settings.prefect_api)
    registry.register(FlowMetrics(api, os.environ.get("PREFECT_API_AUTH_STRING", "")))
    start_http_server(settings.flow_metrics_port, settings.flow_metrics_host, registry)
    print(f"Metrics of the flows: http://{settings.flow_metrics_host}:{settings.flow_metrics_port}/metrics", flush=True)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
