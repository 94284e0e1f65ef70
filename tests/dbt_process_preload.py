"""The fork server imports this module, so that every forked dbt process finds its work done."""

from dbt_process import _parsed

_parsed()
