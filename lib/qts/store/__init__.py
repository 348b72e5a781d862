"""Every table's schema, and the ledgers written through delta-rs. No Spark."""
