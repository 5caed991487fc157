"""The index: an ordered map of rows, a view of the log that can be thrown away."""
