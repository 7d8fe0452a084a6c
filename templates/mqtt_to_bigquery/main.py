"""Entry point of the template mqtt-to-bigquery, for FLEX_TEMPLATE_PYTHON_PY_FILE."""

import sys

from templates.entry import main

if __name__ == "__main__":
    sys.exit(main("mqtt-to-bigquery"))
