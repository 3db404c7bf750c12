"""What happens to entries once they are read: rows, their identity, and the data set on disk.

This package knows rows.  It never imports ``harvester``, Scrapy or an HTML parser, so the data team
can use it without a crawler and a crawler can be replaced without touching the data.
"""
