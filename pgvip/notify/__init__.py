"""Messages to people: what is worth one, its form for mail and chat services, and sending it."""
