SELECT witness_id, serial FROM pgvip_witness.status(%s)
