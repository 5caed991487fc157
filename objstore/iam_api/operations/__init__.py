"""What does the actions, by what they are about."""
