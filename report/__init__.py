"""The report page: which items bring customers back, and what refunds cost.

Reads schema `mart` with the rights of the reader, writes one HTML file that needs no network and no
server. Run it alone: `python -m report --output FILE`.
"""
