"""The five stacks, the commands that bring them up, and the same system on one machine."""
