SELECT winner, serial, witness_id FROM pgvip_witness.claim(%s, %s, %s, %s, %s)
