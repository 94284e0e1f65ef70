{% macro set_transaction() %}
    {#-
    Sets what a run needs, whatever the defaults of the database or the account are. It comes first:
    only the first statement can set the isolation level, and a time limit holds for later
    statements.
    -#}
    -- A run that waited for a lock has to see what the other has committed.
    set transaction isolation level read committed;
    set local statement_timeout = '1h';
    set local lock_timeout = '{{ _lock_timeout() }}';
    -- PostgreSQL must end the statement of a killed run.
    set local client_connection_check_interval = '5s'
{%- endmacro %}
