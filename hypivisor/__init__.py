"""The control plane: registry, routing and trust of one mesh."""
