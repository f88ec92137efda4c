-- Parameter: an array of names. Values in the setting's base unit.
SELECT name, setting, pending_restart FROM pg_settings WHERE name = ANY (%s)
