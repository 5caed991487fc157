"""EC2's actions, a file for each family."""
