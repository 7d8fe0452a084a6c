"""`python -m localcloud.bigquery`."""

from bqemulator.config import LogFormat, LogLevel
from bqemulator.observability.logging_ import configure_logging

if __name__ == "__main__":
    # The emulator logs as its server is imported, on stdout unless it is told otherwise before.
    configure_logging(level=LogLevel.WARNING, fmt=LogFormat.CONSOLE)

    from localcloud.bigquery.server import main

    main()
