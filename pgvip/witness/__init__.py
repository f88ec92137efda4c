"""The witness: something third that gives each term of a pair to one host, once (docs/witness.md)."""
