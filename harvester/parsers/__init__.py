"""Reading a page.  Pure: no network, no clock, no disk, no Scrapy; the same page, the same answer."""
