"""`python -m blockdev`: the `blockdev` command."""

from blockdev.cli import main

raise SystemExit(main())
