"""The plain scripts: what people write in an afternoon, and the yardstick of the bench."""
