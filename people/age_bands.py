"""Bands of age in years, in which people are counted and results are told apart."""

AGE_BANDS = ((0, 18), (18, 30), (30, 45), (45, 60), (60, 200))  # years, the upper end not included


def band_name(band: tuple[int, int]) -> str:
    """A band of `AGE_BANDS` in words, in full years."""
    low, high = band
    return f"under {high}" if low == 0 else f"{low} and over" if high == AGE_BANDS[-1][1] else f"{low} to {high - 1}"
