"""The search for weights and margins of an objective: what is searched, who proposes, and what is chosen."""
