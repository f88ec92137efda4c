"""Health checks, metrics and the status page over HTTP: read-only, in the background, never in the loop's way."""
