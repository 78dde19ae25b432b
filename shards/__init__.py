"""The format: records, masks, media, shards, indexes, and the stream that reads them.

The ground floor of the house: it imports nothing of ours. ``docs/format.md`` is its written contract.
"""
