"""`python -m localcloud.bigquery`."""

from localcloud.bigquery.server import main

if __name__ == "__main__":
    main()
