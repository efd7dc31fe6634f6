"""Who suggests functions: one module per proposer, all behind `types.Proposer`."""
