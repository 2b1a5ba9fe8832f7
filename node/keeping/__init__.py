"""What runs inside a keeper's process (node/keeper.py). Standard library only: it must be small, and survive
an upgrade of everything else, so it imports nothing from outside of this folder.
"""
