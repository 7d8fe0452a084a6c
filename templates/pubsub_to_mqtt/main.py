"""Entry point of the template pubsub-to-mqtt, for FLEX_TEMPLATE_PYTHON_PY_FILE."""

import sys

from templates.entry import main

if __name__ == "__main__":
    sys.exit(main("pubsub-to-mqtt"))
