"""The feature store: HDF5 shards, reader, verify, export."""
