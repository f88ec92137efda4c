-- What a new cluster must be made with, as template0 was: encoding, LC_COLLATE, LC_CTYPE, provider of the locale
-- (c: libc, i: ICU, b: built in), and its name there.
SELECT pg_encoding_to_char(encoding), datcollate::text, datctype::text, datlocprovider::text, coalesce(datlocale, '')
  FROM pg_database WHERE datname = 'template0'
