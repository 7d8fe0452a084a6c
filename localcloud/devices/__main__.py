"""The devices as a process: ``python -m localcloud.devices --help``."""

import sys

from localcloud.devices.process import main

if __name__ == "__main__":
    sys.exit(main())
