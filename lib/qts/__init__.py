"""QTS: trading and pricing that learns while it runs. Research software; markets take money."""

__version__ = "0.1.0"
