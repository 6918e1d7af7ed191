"""A registered version made once more: trained again from what its lineage records, and its numbers computed again."""
