"""How a registry's database came to have its tables: a step a file, run by Alembic."""
