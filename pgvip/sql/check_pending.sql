SELECT name, pending_restart FROM pg_settings WHERE pending_restart
