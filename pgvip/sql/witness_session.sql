-- Encrypted or not and how; whether the witness runs on this very machine; its version.
SELECT s.ssl, coalesce(s.version, ''), coalesce(inet_server_addr() = inet_client_addr(), true),
       current_setting('server_version_num')
  FROM pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()
