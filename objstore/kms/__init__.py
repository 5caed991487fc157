"""The key service: keys that wrap data keys, themselves wrapped by a root key kept apart."""
