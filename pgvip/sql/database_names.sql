SELECT oid, datname FROM pg_database WHERE datallowconn
