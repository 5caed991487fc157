"""Programs that use clients of other projects, run by an interpreter that has these installed.

Each is told the endpoint, its keys and a bucket, checks what it reads against what it wrote,
and says "done".
"""
