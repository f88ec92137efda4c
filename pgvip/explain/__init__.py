"""What would happen: the real core of both hosts, played forward from what is known now. Pure."""
