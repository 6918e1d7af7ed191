"""Body geometry: tubes of rings along a skeleton, and proportions by sex and age class."""
