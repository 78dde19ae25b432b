"""How fast are the converters, and in how much memory? Made-up releases at real sizes, against plain scripts.

    python -m bench.convert                                          a quick look at every converter
    python -m bench.convert --case mevis --profile                   where its time goes
    python -m bench.convert --memory 0.1 1 --chunks 60 --work /big   peaks of memory; some 6 GB of disk

``cases`` lists what is measured, ``make_*`` write the releases, ``plain`` is the script that a competent researcher
writes, ``ours`` what a build does with one core but for writing shards, ``rounds`` lets the two take turns, ``memory``
runs each in a process of its own. Both get the same probe results (``media``): annotation work is what is compared.
"""
