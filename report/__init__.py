"""The report page: which items bring customers back, and what refunds cost.

It reads schema `mart` with the rights of the reader, and writes one HTML file that needs no network
and no server. Run it alone: `python -m report --output FILE`.
"""
