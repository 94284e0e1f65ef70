"""Imported by the server that dbt processes are forked from: what each of them finds done."""

from dbt_process import _parsed

_parsed()
