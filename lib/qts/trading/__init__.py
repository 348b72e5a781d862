"""The decision step that ties strategies, policies, risk and execution together."""
