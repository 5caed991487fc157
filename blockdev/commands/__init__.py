"""The verbs of the `blockdev` command, a family a file."""
