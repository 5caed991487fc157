"""The key service as AWS's clients of KMS speak to it: JSON 1.1 over HTTP."""
