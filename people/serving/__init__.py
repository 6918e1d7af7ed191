"""What trained networks answer outside of their training: to raw input, of unknown people, and on the data of today."""
