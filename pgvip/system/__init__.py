"""The outside world, one module for each thing (and each library) that it is made of."""
