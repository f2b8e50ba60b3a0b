"""Which backbones exist, how one is loaded, hidden states out, pooling."""
