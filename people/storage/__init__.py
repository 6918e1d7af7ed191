"""Arrays, weights and small files on disk: written atomically, identified by their digests."""
