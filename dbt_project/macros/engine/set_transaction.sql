{% macro set_transaction() %}
    {#-
    What a run needs, whatever the defaults of the database or the account are. Before everything
    else: only the first statement can ask for an isolation level, and a time limit holds for the
    statements after it.
    -#}
    -- Whoever waited for a lock has to see what the other committed.
    set transaction isolation level read committed;
    set local statement_timeout = '1h';
    set local lock_timeout = '{{ _lock_timeout() }}';
    -- A run that was killed must not go on alone.
    set local client_connection_check_interval = '5s'
{%- endmacro %}
