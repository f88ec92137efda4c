"""Health checks, metrics and the status page over HTTP: read-only, beside the loop, never in its way."""
