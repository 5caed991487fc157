"""IAM and STS as AWS's clients speak to them: the query protocol over HTTP."""
