"""The archive: every answer of a server, as it came, in WARC 1.1 files.  The write-ahead log.

    words.py       what travels: an exchange, an archived answer, damage
    writer.py      appends a run's exchanges to its files
    scan.py        the records of a file, each with its place, whole or torn
    reader.py      what they say: answers, revisits with what they refer to, runs
    index.py       the CDXJ line of each record; where a record lies
    past.py        what the archive holds of an address, for requests that ask only for news
    inspection.py  is each file by the book, to the last bit?
    wacz.py        files packed for a viewer

The only user of the WARC library.
"""
