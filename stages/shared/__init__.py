"""What several stages share: parameters and outputs, executors, archives, variants."""
