"""Random faults on real pairs: clients and probers write histories, and a checker that knows no pgvip judges them."""
