"""Market regimes: fitted on the past by library, served bar by bar by a forward filter that never looks ahead."""
