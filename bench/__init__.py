"""Named workloads over the engine and the HTTP front, beside other stores.  ``python -m bench``."""
