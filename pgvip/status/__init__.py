"""The status document and the snapshot that it is made of."""
