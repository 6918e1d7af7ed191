"""Arrays, weights and small files on the disk: whole or not there, known by their digests."""
