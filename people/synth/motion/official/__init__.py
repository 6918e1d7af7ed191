"""The official archive of a dataset: it has frames of its own, so there is no walk to render."""

walks = None
