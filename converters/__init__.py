"""The facts: one file per dataset family, stating what its annotators said, and nothing of how it is worded."""
