"""The operations of the KMS API, a file for each family."""
