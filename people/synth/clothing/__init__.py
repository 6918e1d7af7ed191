"""Clothing: outfits, fabrics, accessories and the textured tubes of a dressed body."""
