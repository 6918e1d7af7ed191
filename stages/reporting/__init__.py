"""What the pages of the report are made of: tables, figures, galleries, and the facts of a run."""
