-- The locales that the databases were made with; each must be known to the operating system of both hosts.
SELECT DISTINCT locale FROM pg_database, unnest(ARRAY[datcollate, datctype]) AS locale WHERE locale IS NOT NULL
