-- Where the server keeps what must be alike on both hosts, and what else it loads: hba_file, ident_file, the data
-- directory, dynamic_library_path, whether it recovers.
SELECT current_setting('hba_file'), current_setting('ident_file'), current_setting('data_directory'),
       current_setting('dynamic_library_path'), pg_is_in_recovery()
