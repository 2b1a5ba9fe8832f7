"""The per-machine process that owns the agents, folders and PXLDisk of that machine."""
