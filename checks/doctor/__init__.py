"""How the warehouse and what surrounds it are: one line a check, and the command that mends it.

Run: `python -m checks doctor`, with the settings of the programs it shall look after. It looks in
read-only transactions, asks the report API for nothing and writes no file. What it cannot see from
where it runs it calls "not looked at".
"""

from checks.doctor.examination import examine, show

__all__ = ["examine", "show"]
