"""What ``multigrain new`` writes: working converters of a data set called "example", each with its worlds.

They are modules like any other, so the checks of this checkout hold for them; ``new`` copies them under another name.
"""
