"""The twin of the store in parts; `tests.model_store` puts them together."""
