"""MLflow tracking, model versions and aliases, and the scorecard."""
