"""Sentiment of finance texts: a pluggable scorer, an offline lexicon as the default, decay per instrument and bar."""
