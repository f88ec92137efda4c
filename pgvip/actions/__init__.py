"""Actions act: idempotent, with a deadline, each verifying its own effect."""
