"""What people wear and carry, over the body that wears it."""
