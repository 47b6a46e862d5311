"""The tests; a package, so that the fixtures under it are found whatever else is installed."""
