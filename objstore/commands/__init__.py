"""What the `objstore` command does, a file for each of its parts."""
