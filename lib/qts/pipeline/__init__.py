"""Spark: the session, the sources and one module per job."""
